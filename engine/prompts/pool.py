"""The pool that rounds draw from: the train files' prompts but those that are held out and those that hygiene drops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine import datafiles
from engine.errors import StepError
from engine.prompts.build import Row
from engine.prompts.splits import disjoint, files_of, of_train, read_split
from engine.spec import Prompts, Spec
from engine.step import Context, Ref

HELD_OUT = (Ref("prompts", "gate", "base"), Ref("prompts", "test", "base"))
DROPPED = Ref("prompts_dropped", "train")


def pool_reads(spec: Spec) -> list[Ref]:
    """The parts that `pool` reads."""
    return [*HELD_OUT, *([DROPPED] if spec.prompts.hygiene else [])]


def pool_settings(spec: Spec, spec_path: Path) -> dict[str, Any]:
    """What the pool depends on beside those parts: how rows become prompts, and the files' content."""
    return {
        "fields": spec.prompts.fields.model_dump(mode="json"),
        "files": digests(spec.prompts, "train", spec_path.parent),
        "held_out_of_train": of_train(spec.prompts),
    }


def digests(prompts: Prompts, split: Any, folder: Path) -> list[str]:
    """The content of a split's files."""
    files = files_of(prompts, split)
    return [] if files is None else list(datafiles.digest(files, folder).values())


def held_out(ctx: Context, *columns: str) -> dict[str, list[dict[str, Any]]]:
    """Gate and test prompts by split: prompt_id, source and further columns."""
    return {ref.part or "": ctx.read(ref, ["prompt_id", "source", *columns]).to_pylist() for ref in HELD_OUT}


def unclean(ctx: Context) -> tuple[list[Row], int]:
    """(the pool before hygiene, in the order of the files; how many doubles were left out). DataError for a prompt that is also held
    out."""
    prompts = ctx.spec.prompts
    rows, left_out = read_split(prompts, "train", ctx.spec_path.parent)
    held = held_out(ctx)
    if of_train(prompts):
        # the base round holds out once: a file that grows later must not move its rows
        taken = {row["prompt_id"] for found in held.values() for row in found}
        rows = [row for row in rows if row["prompt_id"] not in taken]
    for split, found in held.items():
        disjoint(rows, "train", found, split)
    return rows, left_out


def cleaned(ctx: Context, rows: list[Row]) -> tuple[list[Row], dict[str, int]]:
    """(rows that hygiene leaves, how many each rule dropped). StepError where a dropped prompt is not among `rows`."""
    if ctx.spec.prompts.hygiene is None:
        return rows, {}
    table = ctx.read(DROPPED, ["prompt_id", "rule"])
    dropped = dict(zip(table["prompt_id"].to_pylist(), table["rule"].to_pylist(), strict=True))
    kept = [row for row in rows if row["prompt_id"] not in dropped]
    if len(kept) + len(dropped) != len(rows):
        raise StepError(
            f"of {len(rows)} prompts of the pool {len(kept)} are kept and {len(dropped)} were dropped, which does not add up",
            hint="did a file change while the round ran? Run it again",
        )
    by_rule: dict[str, int] = {}
    for rule in dropped.values():
        by_rule[rule] = by_rule.get(rule, 0) + 1
    return kept, dict(sorted(by_rule.items()))


def pool(ctx: Context) -> list[Row]:
    """Rows of the prompts table that the round may draw, in the order of the files."""
    return cleaned(ctx, unclean(ctx)[0])[0]
