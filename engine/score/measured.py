"""The step of a measure: it numbers every rollout of the round, or as an entry of `score` every answer of a part of generations."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from engine import models, tables
from engine.errors import StepError
from engine.ids import content_id, digest
from engine.score import cache
from engine.score.measures import Measure, make
from engine.score.rows import of_verdicts, timed
from engine.score.steps import is_active, prompts_of, step_name
from engine.score.verify import frame
from engine.spec import Measure as Entry
from engine.spec import Scorer, Spec
from engine.step import Context, Output, Ref, Step

if TYPE_CHECKING:
    import polars as pl

GIVEN = ("value", "verdict", "detail", "seconds", "prompt_tokens", "response_tokens")  # what a measure may give beside item_id


class Measured(Step):
    """One entry of `measure`, or one of `score` that names a measure, over a part of generations."""

    table = "scores"

    def __init__(self, entry: Entry | Scorer, of: str = "rollout") -> None:
        self.entry, self.of = entry, of
        self.name, self.part = step_name(of, f"scores_{entry.column}"), f"{of}/{entry.column}"
        self.on_device = make(entry).on_device

    def active(self, spec: Spec, round_: int) -> bool:
        return is_active(self.of, round_)

    def writes(self) -> list[tuple[str, str]]:
        """A part for each column, and one for the rows of segments."""
        return [("scores", self.part + suffix) for suffix in make(self.entry).outputs] + ([self._segments] if self._segments else [])

    @property
    def _segments(self) -> tuple[str, str] | None:
        return ("scores", f"segment/{self.entry.column}") if self.of == "rollout" and make(self.entry).by_segment else None

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return list(dict.fromkeys([Ref("generations", self.of), *prompts_of(self.of), *make(self.entry).reads(spec, round_)]))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        measure = make(self.entry)
        name = self.entry.measure if isinstance(self.entry, Scorer) else self.entry.method
        own = {"measure": name, "revision": measure.revision, "params": measure.params.model_dump(mode="json")}
        return own | measure.settings(spec, round_, spec_path)

    def run(self, ctx: Context) -> Output:
        """StepError where an answer has no row, or two."""
        measure, rows = make(self.entry), answered(ctx, self.of, self.name)
        settings = self.settings(ctx.spec, ctx.round, ctx.spec_path)
        if measure.per_answer:
            models = measure.versions(ctx)
            found, cached = self._once(ctx, measure, rows, digest(settings, models))
            found |= self._with_segments(found)
            return Output(found, rows.num_rows, {"cached": cached} | measure.detail | ({"models": models} if models else {}))
        began = time.perf_counter()
        made = measure.measure(ctx, rows)
        made[measure.outputs[0]] = timed(made[measure.outputs[0]], began)
        found = {key: self._scores(rows, made[suffix], suffix, digest(settings)) for suffix, key in self._keys()}
        return Output(found | self._with_segments(found), rows.num_rows)

    def _with_segments(self, found: dict[tuple[str, str], pa.Table]) -> dict[tuple[str, str], pa.Table]:
        return {self._segments: segments(found[self._keys()[0][1]])} if self._segments else {}

    def _keys(self) -> list[tuple[str, tuple[str, str]]]:
        return [(suffix, ("scores", self.part + suffix)) for suffix in make(self.entry).outputs]

    def _once(self, ctx: Context, measure: Measure, rows: pa.Table, version: str) -> tuple[dict[tuple[str, str], pa.Table], int]:
        """The scores of every column, of which the cache gave some (the number of different answers is returned)."""
        import polars as pl

        answers = frame(rows, ["generation_id", "prompt_id"]).rename({"generation_id": "item_id"})
        answers = answers.with_columns(key=pl.Series(keys_of(rows), dtype=pl.String))
        unique = answers.unique("key", keep="first", maintain_order=True)
        versions = {suffix: digest(version, suffix) for suffix in measure.outputs}
        keys = unique["key"].to_arrow().cast(pa.string())
        known = {suffix: cache.scores(ctx.lake, own, keys).rename({"cache_key": "key"}) for suffix, own in versions.items()}
        have = set.intersection(*(set(table["key"]) for table in known.values()))
        todo = unique.filter(~pl.col("key").is_in(have))
        made: dict[str, pa.Table] = {}
        if todo.height:
            asked = rows.filter(pc.is_in(rows["generation_id"], value_set=todo["item_id"].to_arrow().cast(pa.string())))
            began = time.perf_counter()
            made = measure.measure(ctx, asked)
            made[measure.outputs[0]] = timed(made[measure.outputs[0]], began)
        found = {}
        for suffix, key in self._keys():
            old = known[suffix].filter(pl.col("key").is_in(have)).with_columns(seconds=pl.lit(0.0))
            new = [_keyed(made[suffix], todo, self.name)] if made else []
            whole = pl.concat([old, *new], how="diagonal_relaxed")
            found[key] = of_verdicts(answers, whole, self.entry.column + suffix, versions[suffix], self.name)
        return found, len(have)

    def _scores(self, rows: pa.Table, made: pa.Table, suffix: str, version: str) -> pa.Table:
        made, n = _in_order(made, rows["generation_id"], self.name), rows.num_rows
        columns: dict[str, Any] = {
            "item_id": rows["generation_id"],
            "item_kind": pa.repeat("generation", n),
            "prompt_id": rows["prompt_id"],
            "scorer": pa.repeat(self.entry.column + suffix, n),
            "scorer_version": pa.repeat(version, n),
        }
        columns |= {name: made[name] for name in GIVEN if name in made.column_names}
        return tables.check("scores", pa.table(columns))


def segments(scores: pa.Table) -> pa.Table:
    """A row for each number in the `detail` of scores that have a value: item_kind segment, numbered from 0."""
    found = []
    for row in scores.select(["item_id", "prompt_id", "scorer", "scorer_version", "value", "detail"]).to_pylist():
        own = {name: row[name] for name in ("item_id", "prompt_id", "scorer")}
        own |= {"item_kind": "segment", "scorer_version": digest(row["scorer_version"], "segment")}
        numbers = [] if row["value"] is None else json.loads(row["detail"])
        found += [own | {"segment": i, "value": number} for i, number in enumerate(numbers)]
    return tables.check("scores", pa.Table.from_pylist(found, schema=tables.TABLES["scores"].columns))


def answered(ctx: Context, part: str, label: str) -> pa.Table:
    """A part of generations with messages, reference, topic and meta, in order of their ids. StepError where a prompt is missing."""
    rows = ctx.read(Ref("generations", part)).sort_by("generation_id")
    columns = ["prompt_id", "messages", "reference", "topic", "meta"]
    prompts = pa.concat_tables([ctx.read(ref, columns).select(columns) for ref in prompts_of(part)])
    place = pc.index_in(rows["prompt_id"], value_set=prompts["prompt_id"].combine_chunks())
    if place.null_count:
        lost = rows.filter(pc.is_null(place)).to_pylist()[0]
        raise StepError(f"{label}: generation {lost['generation_id']} answers prompt {lost['prompt_id']}, which is not in the round")
    found = prompts.take(place)
    chats = pc.if_else(pc.is_valid(rows["messages"]), rows["messages"].combine_chunks(), found["messages"].combine_chunks())
    if part.startswith("followup/"):  # a beginning that was given stands in the response too
        chats = pa.array([said[:-1] if models.begun(said) else said for said in chats.to_pylist()], chats.type)
    rows = rows.set_column(rows.column_names.index("messages"), "messages", chats)
    rows = rows.set_column(rows.column_names.index("meta"), "meta", found["meta"])
    return rows.append_column("reference", found["reference"]).append_column("topic", found["topic"])


def keys_of(rows: pa.Table) -> list[str]:
    """What a measure sees of each row, as the cache's key: the answer's text, and the chat, reference and meta before it."""
    seen: dict[Any, str] = {}
    keys = []
    columns = [rows[name].to_pylist() for name in ("content_id", "prompt_id", "messages", "reference", "meta")]
    for content, prompt, chat, reference, meta in zip(*columns, strict=True):
        said = tuple((m["role"], m["content"]) for m in chat)
        place = (prompt, said)
        if place not in seen:
            seen[place] = content_id(repr((said, reference, meta)))
        keys.append(content + seen[place])
    return keys


def _keyed(made: pa.Table, todo: pl.DataFrame, label: str) -> pl.DataFrame:
    """What a measure gave for the items of `todo` (item_id, key), by key."""
    import polars as pl

    made = _in_order(made, todo["item_id"].to_arrow().cast(pa.string()), label)
    found = frame(made, [name for name in GIVEN if name in made.column_names])
    return found.with_columns(key=pl.Series(todo["key"], dtype=pl.String))


def _in_order(made: pa.Table, items: pa.Array | pa.ChunkedArray, label: str) -> pa.Table:
    place = pc.index_in(items, value_set=made["item_id"].combine_chunks().cast(pa.string()))
    if made.num_rows != len(items) or place.null_count:
        raise StepError(f"{label}: {len(items)} answers in, {made.num_rows} numbers out, {place.null_count} answers without one")
    return made.take(place)
