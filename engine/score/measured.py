"""The step of a measure: it numbers every rollout of the round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine import tables
from engine.errors import StepError
from engine.ids import digest
from engine.score.measures import make, measures
from engine.spec import Measure, Spec
from engine.step import Context, Output, Ref, Step

READS = (Ref("generations", "rollout"), Ref("prompts", "train"))


class Measured(Step):
    """One entry of `measure`."""

    table = "scores"

    def __init__(self, entry: Measure) -> None:
        self.entry, self.name = entry, f"scores_{entry.column}"
        self.part = f"rollout/{entry.column}"
        self.method = measures.load(entry.method)
        self.on_device = self.method.on_device

    def writes(self) -> list[tuple[str, str]]:
        """A part for each column."""
        return [("scores", self.part + suffix) for suffix in self.method.outputs]

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return [*READS, *make(self.entry).reads(spec, round_)]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        measure = make(self.entry)
        own = {"measure": self.entry.method, "revision": measure.revision, "params": measure.params.model_dump(mode="json")}
        return own | measure.settings(spec, round_, spec_path)

    def run(self, ctx: Context) -> Output:
        """StepError where a rollout has no number, or two."""
        rows = _rollouts(ctx, self.name)
        made = make(self.entry).measure(ctx, rows)
        version = digest(self.settings(ctx.spec, ctx.round, ctx.spec_path))
        found = {}
        for suffix in self.method.outputs:
            found["scores", self.part + suffix] = _scores(rows, made[suffix], self.entry.column + suffix, version, self.name)
        return Output(found, rows.num_rows)


def _rollouts(ctx: Context, label: str) -> pa.Table:
    """generations with messages, reference and topic, in order of their ids."""
    rows = ctx.read(READS[0]).sort_by("generation_id")
    prompts = ctx.read(READS[1], ["prompt_id", "messages", "reference", "topic"])
    place = pc.index_in(rows["prompt_id"], value_set=prompts["prompt_id"].combine_chunks())
    if place.null_count:
        lost = rows.filter(pc.is_null(place)).to_pylist()[0]
        raise StepError(f"{label}: generation {lost['generation_id']} answers prompt {lost['prompt_id']}, which is not in the round")
    found = prompts.take(place)
    chats = pc.if_else(pc.is_valid(rows["messages"]), rows["messages"].combine_chunks(), found["messages"].combine_chunks())
    rows = rows.set_column(rows.column_names.index("messages"), "messages", chats)
    return rows.append_column("reference", found["reference"]).append_column("topic", found["topic"])


def _scores(rows: pa.Table, made: pa.Table, scorer: str, version: str, label: str) -> pa.Table:
    place = pc.index_in(rows["generation_id"], value_set=made["item_id"].combine_chunks())
    if made.num_rows != rows.num_rows or place.null_count:
        raise StepError(f"{label}: {rows.num_rows} rollouts in, {made.num_rows} numbers out, {place.null_count} rollouts without one")
    made = made.take(place)
    n = rows.num_rows
    columns: dict[str, Any] = {
        "item_id": rows["generation_id"],
        "item_kind": pa.repeat("generation", n),
        "prompt_id": rows["prompt_id"],
        "scorer": pa.repeat(scorer, n),
        "scorer_version": pa.repeat(version, n),
        "value": made["value"],
    }
    columns |= {name: made[name] for name in ("verdict", "detail") if name in made.column_names}
    return tables.check("scores", pa.table(columns))
