"""Rows of the scores table from what verifiers and measures give."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pyarrow as pa

from engine import tables
from engine.errors import StepError

if TYPE_CHECKING:
    import polars as pl

COSTS = ("seconds", "prompt_tokens", "response_tokens")


def timed(made: pa.Table, began: float) -> pa.Table:
    """What a model gave, with an equal share of the seconds since `began` (of time.perf_counter) where it does not say itself."""
    if "seconds" in made.column_names:
        if made["seconds"].null_count < made.num_rows:
            return made
        made = made.drop_columns(["seconds"])
    share = (time.perf_counter() - began) / max(1, made.num_rows)
    return made.append_column("seconds", pa.array([share] * made.num_rows, pa.float64()))


def of_verdicts(answers: pl.DataFrame, made: pl.DataFrame, scorer: str, version: str, label: str) -> pa.Table:
    """A row for each of `answers` (item_id, prompt_id, key) from the results of their keys. StepError where one is lost.

    `made`: key, value and of the other columns of `scores` those that it has. What was scored once is paid for once: its
    seconds and tokens are shared among the equal answers (tokens stand at the first of them).
    """
    import polars as pl

    items = answers.select("item_id", "prompt_id", "key")
    found = items.join(made, on="key", how="inner", maintain_order="left")
    if found.height != answers.height:
        raise StepError(f"{label}: {answers.height} generations in, {found.height} scores out")
    first = pl.int_range(pl.len()).over("key") == 0
    costs: list[pl.Expr] = [pl.when(first).then(pl.col(name)) for name in COSTS[1:] if name in made.columns]
    if "seconds" in made.columns:
        costs.append(pl.col("seconds") / pl.len().over("key"))
    rows = found.with_columns(costs).with_columns(
        cache_key=pl.col("key"), item_kind=pl.lit("generation"), scorer=pl.lit(scorer), scorer_version=pl.lit(version)
    )
    return tables.check("scores", rows.drop("key").to_arrow())
