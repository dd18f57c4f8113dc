"""The step of a comparer: pairs of a prompt's rollouts in, rows of `preferences` out, in both orders where the spec says so.

A judge that prefers the first place would fill the table with its bias, so each pair is asked twice with the sides swapped, and
where the two answers name different winners the pair is a tie. Both answers stay in the table beside it.
"""

from __future__ import annotations

import json
import time
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from engine import tables
from engine.errors import QueryError, StepError
from engine.ids import digest
from engine.score import cache
from engine.score.comparers import QUESTION, Comparer, make
from engine.score.measured import answered, keys_of
from engine.score.measures import columns_of
from engine.score.rows import timed
from engine.score.verify import frame
from engine.spec import Compare as Entry
from engine.spec import Spec
from engine.step import Context, Output, Ref, Step
from engine.stepsql import StepSql

if TYPE_CHECKING:
    import polars as pl

FORWARD, SWAPPED, BOTH = "forward", "swapped", "both"
ID = 16  # hex digits of an id
GIVEN = ("probability", "value", "votes", "uncertainty", "verdict", "detail", "seconds", "prompt_tokens", "response_tokens")
SUMMED = ("votes", "seconds", "prompt_tokens", "response_tokens")


class Compared(Step):
    """One entry of `compare`."""

    table = "preferences"

    def __init__(self, entry: Entry, spec_path: Path | None) -> None:
        self.entry, self.spec_path = entry, spec_path
        self.name, self.part = f"compare_{entry.column}", f"rollout/{entry.column}"
        self.on_device = make(entry).on_device

    @property
    def _sql(self) -> StepSql | None:
        if self.entry.sql is None:
            return None
        return StepSql.load(self.entry.sql, self.entry.sql_params, self.name, self.spec_path)

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        found, sql = [Ref("generations", "rollout"), Ref("prompts", "train"), *make(self.entry).reads(spec, round_)], self._sql
        if sql:
            before = [column for measure in spec.measure if measure.method for column in columns_of(measure)]
            found += sql.refs(spec, before, measured=False)
        return list(dict.fromkeys(found))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        sql = self._sql.settings(spec, round_) if self._sql else None
        return {"judge": self._own(spec, round_, spec_path), "pairs": sql, "orders": self.entry.orders, "name": self.entry.column}

    def _own(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        comparer = make(self.entry)
        own = {"comparer": self.entry.method, "revision": comparer.revision, "params": comparer.params.model_dump(mode="json")}
        return own | comparer.settings(spec, round_, spec_path)

    def check(self, spec: Spec, spec_path: Path) -> None:
        """QueryError where the SQL of the pairs cannot run or lacks a column."""
        sql = self._sql
        if sql and not {"left_id", "right_id"} <= set(found := sql.schema(spec, spec_path).names):
            raise QueryError(f"the pairs need the columns left_id and right_id, found {found}", where=str(sql.file.path))

    def run(self, ctx: Context) -> Output:
        """StepError where a pair is lost, names an answer that is not in the round, or crosses two prompts."""
        import polars as pl

        comparer, rows = make(self.entry), answered(ctx, "rollout", self.name)
        models = comparer.versions(ctx)
        version = digest(self._own(ctx.spec, ctx.round, ctx.spec_path), models)
        pairs = self._pairs(ctx, rows)
        asked = self._asked(rows, pairs)
        unique = asked.unique("cache_key", keep="first", maintain_order=True)
        made, cached = self._answers(ctx, comparer, rows, unique, version)
        found = asked.join(made, on="cache_key", how="inner", maintain_order="left")
        if found.height != asked.height:
            raise StepError(f"{self.name}: {asked.height} questions, {found.height} answers")
        first = pl.int_range(pl.len()).over("cache_key") == 0
        found = found.with_columns(pl.when(first).then(pl.col(name)).alias(name) for name in SUMMED[1:])
        swapped = pl.col("order") == SWAPPED
        found = found.with_columns(probability=pl.when(swapped).then(1 - pl.col("probability")).otherwise(pl.col("probability")))
        whole = pl.concat([found, both(found)], how="diagonal_relaxed") if self.entry.orders == "both" else found
        whole = whole.with_columns(judge=pl.lit(self.entry.column), judge_version=pl.lit(version))
        table = tables.check("preferences", whole.drop("left", "right").to_arrow())
        detail = {"pairs": pairs.height, "asked": unique.height - cached, "cached": cached} | comparer.detail
        detail |= {"models": models} if models else {}
        return Output({("preferences", self.part): table}, pairs.height, detail)

    def _pairs(self, ctx: Context, rows: pa.Table) -> pl.DataFrame:
        """left and right: row numbers of `rows`, in order of the ids. All pairs of a prompt, or those that the SQL gives."""
        import polars as pl

        ids, prompts = rows["generation_id"].to_pylist(), rows["prompt_id"].to_pylist()
        sql = self._sql
        if sql is None:
            groups: dict[str, list[int]] = {}
            for place, prompt in enumerate(prompts):
                groups.setdefault(prompt, []).append(place)
            found = [pair for group in groups.values() for pair in combinations(group, 2)]
        else:
            made = ctx.sql(sql.file.query(), sql.bound(ctx.spec, ctx.round))
            places = {item: place for place, item in enumerate(ids)}
            found = sorted(
                self._place(row, places, prompts, str(sql.file.path)) for row in made.select(["left_id", "right_id"]).to_pylist()
            )
            if len(set(found)) < len(found):
                raise StepError(f"{self.name}: a pair stands twice", where=str(sql.file.path), hint="select distinct left_id, right_id")
        if not found:
            raise StepError(f"{self.name}: no pairs to compare", hint="sample at least two answers a prompt (generate.samples)")
        return pl.DataFrame(found, schema={"left": pl.Int64, "right": pl.Int64}, orient="row")

    def _place(self, row: dict[str, Any], places: dict[str, int], prompts: list[str], where: str) -> tuple[int, int]:
        for item in row.values():
            if item not in places:
                raise StepError(f"{self.name}: the SQL names {item!r}, which is no rollout of this round", where=where)
        left, right = places[row["left_id"]], places[row["right_id"]]
        if left == right or prompts[left] != prompts[right]:
            hint = "join on prompt_id, and left_id <> right_id"
            raise StepError(f"{self.name}: {row} is no pair of two answers to one prompt", where=where, hint=hint)
        return left, right

    def _asked(self, rows: pa.Table, pairs: pl.DataFrame) -> pl.DataFrame:
        """left, right, prompt_id, left_id, right_id, order and cache_key: one row for each question."""
        import polars as pl

        ids, prompts, keys = rows["generation_id"].to_pylist(), rows["prompt_id"].to_pylist(), keys_of(rows)
        found = []
        for order in (FORWARD, SWAPPED) if self.entry.orders == "both" else (FORWARD,):
            for left, right in pairs.iter_rows():
                first, second = (left, right) if order == FORWARD else (right, left)
                found.append((left, right, prompts[left], ids[left], ids[right], order, keys[first] + keys[second]))
        names = ("left", "right", "prompt_id", "left_id", "right_id", "order", "cache_key")
        return pl.DataFrame(found, schema=names, orient="row")

    def _answers(self, ctx: Context, comparer: Comparer, rows: pa.Table, unique: pl.DataFrame, version: str) -> tuple[pl.DataFrame, int]:
        """(cache_key and GIVEN for each question, probabilities that the first is better; how many of them the cache knew)."""
        import polars as pl

        known = cache.comparisons(ctx.lake, version, unique["cache_key"].to_arrow().cast(pa.string()))
        swapped = pl.col("order") == SWAPPED  # the table holds the left one's probability, a question the first one's
        known = known.with_columns(
            probability=pl.when(swapped).then(1 - pl.col("probability")).otherwise(pl.col("probability")), seconds=pl.lit(0.0)
        ).drop("order")
        todo = unique.join(known.select("cache_key"), on="cache_key", how="anti", maintain_order="left")
        same = pl.col("cache_key").str.slice(0, ID) == pl.col("cache_key").str.slice(2 * ID, ID)  # the content ids in it
        ties = todo.filter(same) if comparer.symmetric else todo.clear()
        todo = todo.filter(~same) if comparer.symmetric else todo
        tie = ties.select("cache_key", probability=pl.lit(0.5), votes=pl.lit(0), detail=pl.lit("the same text"), seconds=pl.lit(0.0))
        parts = [known, tie]
        if todo.height:
            questions = self._questions(rows, todo)
            began = time.perf_counter()
            made = timed(comparer.compare(ctx, questions), began)
            parts.append(_in_order(made, todo["cache_key"].to_arrow().cast(pa.string()), self.name))
        whole = pl.concat(parts, how="diagonal_relaxed")
        missing = [pl.lit(None, pl.Int64 if name in SUMMED else pl.Float64).alias(name) for name in GIVEN if name not in whole.columns]
        return whole.with_columns(missing), known.height

    def _questions(self, rows: pa.Table, todo: pl.DataFrame) -> pa.Table:
        left, right = todo["left"].to_arrow(), todo["right"].to_arrow()
        forward = pc.equal(todo["order"].to_arrow().cast(pa.string()), FORWARD)
        first, second = rows.take(pc.if_else(forward, left, right)), rows.take(pc.if_else(forward, right, left))
        columns = {"key": todo["cache_key"].to_arrow(), "messages": first["messages"], "first": first["response"]}
        columns |= {"second": second["response"], "reference": first["reference"], "meta": first["meta"]}
        return pa.table(columns).cast(QUESTION)


def both(asked: pl.DataFrame) -> pl.DataFrame:
    """A row with order `both` for each pair: the mean, or 0.5 where the two orders name different winners.

    Without a probability in one order the pair has none, and its verdict is that order's.
    """
    import polars as pl

    keys = ["prompt_id", "left_id", "right_id"]
    forward = asked.filter(pl.col("order") == FORWARD)
    pairs = forward.join(asked.filter(pl.col("order") == SWAPPED), on=keys, how="inner", suffix="_2", maintain_order="left", validate="1:1")
    a, b = pl.col("probability"), pl.col("probability_2")
    flips = ((a - 0.5) * (b - 0.5)) < 0
    detail = pairs.select("probability", "probability_2").rows()
    return pairs.select(
        *keys,
        order=pl.lit(BOTH),
        probability=pl.when(flips).then(0.5).otherwise((a + b) / 2),
        uncertainty=(pl.col("uncertainty") + pl.col("uncertainty_2")) / 2,
        verdict=pl.coalesce("verdict", "verdict_2"),
        detail=pl.Series([json.dumps({"forward": one, "swapped": two}) for one, two in detail], dtype=pl.String),
        votes=pl.col("votes") + pl.col("votes_2"),
    )


def _in_order(made: pa.Table, keys: pa.Array, label: str) -> pl.DataFrame:
    place = pc.index_in(keys, value_set=made["key"].combine_chunks().cast(pa.string()))
    if made.num_rows != len(keys) or place.null_count:
        raise StepError(f"{label}: {len(keys)} questions, {made.num_rows} answers, {place.null_count} questions without one")
    found = frame(made.take(place), [name for name in ("key", *GIVEN) if name in made.column_names])
    return found.rename({"key": "cache_key"})
