"""What an entry of `cluster` is about: the round's prompts, its rollouts, or the pool that rounds draw from, as texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import StepError
from engine.spec import Cluster, Spec
from engine.step import Context, Ref


@dataclass(frozen=True)
class Items:
    """Ids, ascending, and the text of each."""

    ids: list[str]
    texts: list[str]


def reads(entry: Cluster, spec: Spec) -> list[Ref]:
    """The parts that the items come from."""
    if entry.of == "pool":
        from engine.prompts import pool_reads

        return pool_reads(spec)
    return [Ref("prompts", "train")] if entry.of == "prompts" else [Ref("generations", "rollout")]


def settings(entry: Cluster, spec: Spec, spec_path: Path) -> dict[str, Any]:
    """JSON for the fingerprint: nothing for parts of the round, whose content stands there already; files for the pool."""
    if entry.of == "pool":
        from engine.prompts import pool_settings

        return {"pool": pool_settings(spec, spec_path)}
    return {}


def items(ctx: Context, entry: Cluster) -> Items:
    """A prompt's text is what it asks (its messages but the system's, one a line); a rollout's its response. StepError where there
    is none."""
    if entry.of == "generations":
        rows = ctx.read(Ref("generations", "rollout"), ["generation_id", "response"])
        found = list(zip(rows["generation_id"].to_pylist(), rows["response"].to_pylist(), strict=True))
    else:
        from engine.prompts.hygiene.texts import asked

        if entry.of == "pool":
            from engine.prompts import pool

            prompts = pool(ctx)
        else:
            prompts = ctx.read(Ref("prompts", "train"), ["prompt_id", "messages"]).to_pylist()
        found = [(row["prompt_id"], asked(row)) for row in prompts]
    if not found:
        raise StepError(f"cluster {entry.name}: there are no {entry.of} to work on", hint="`rondo status` shows what ran before")
    found.sort()
    return Items([item for item, _ in found], [text for _, text in found])


def same(found: Items, ids: list[str], step: str) -> None:
    """StepError where the ids of a part are not those of the items, in their order."""
    if ids != found.ids:
        lost, invented = len(set(found.ids) - set(ids)), len(set(ids) - set(found.ids))
        raise StepError(f"{step}: {len(found.ids)} items, {len(ids)} vectors; {lost} items without one, {invented} without an item")
