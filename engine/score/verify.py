"""Answers with what a verifier needs to see, and the operator that scores batches of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine import operators
from engine.errors import StepError
from engine.ids import content_id
from engine.score import Verifier
from engine.step import Progress

if TYPE_CHECKING:
    import polars as pl

RESULT = pa.schema(
    [("key", pa.string()), ("value", pa.float64()), ("verdict", pa.string()), ("detail", pa.string()), ("seconds", pa.float64())]
)


class Verify:
    """Operator: answers in (key, response, reference, prompt), verdicts out (key, value, verdict, detail, seconds)."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        verify, clock = self.verifier.verify, time.perf_counter
        columns = [batch.column(name).to_pylist() for name in ("response", "reference", "prompt")]
        verdicts, seconds, before = [], [], clock()
        for response, reference, prompt in zip(*columns, strict=True):
            verdicts.append(verify(response, reference, prompt))
            now = clock()
            seconds.append(now - before)
            before = now
        made: list[Any] = [*zip(*verdicts, strict=True), seconds]
        arrays = [pa.array(column, kind) for column, kind in zip(made, RESULT.types[1:], strict=True)]
        return pa.RecordBatch.from_arrays([batch.column("key"), *arrays], schema=RESULT)


def frame(table: pa.Table, columns: list[str]) -> pl.DataFrame:
    """Some columns of an Arrow table, as Polars has them."""
    import polars as pl

    found = pl.from_arrow(table.select(columns))
    assert isinstance(found, pl.DataFrame)
    return found


def verdicts(verifier: Verifier, unique: pa.Table, journal: Path, progress: Progress, label: str) -> pa.Table:
    """The verdict on each row of `unique` (key, response, reference, prompt), journaled batch by batch."""
    if not unique.num_rows:
        return RESULT.empty_table()
    texts = pa.schema([(name, pa.string()) for name in unique.column_names])
    return operators.run(
        lambda: Verify(verifier), unique.cast(texts), key="key", batch=verifier.batch, journal=journal, progress=progress, label=label
    )


def answers_of(generations: pa.Table, prompts: list[pa.Table], verifier: Verifier, label: str) -> pl.DataFrame:
    """item_id, prompt_id, response, reference, prompt, key: a row for each generation, null where the verifier needs none.

    Rows with equal `key` are equal to the verifier. StepError names a generation whose prompt is not among `prompts`.
    """
    import polars as pl

    answers = frame(generations, ["generation_id", "content_id", "prompt_id", "response"])
    known = pl.concat([_seen(table, verifier) for table in prompts])
    answers = answers.join(known, on="prompt_id", how="left", maintain_order="left")
    lost = answers.filter(pl.col("context").is_null())
    if lost.height:
        first = lost.row(0, named=True)
        raise StepError(
            f"{label}: generation {first['generation_id']} answers prompt {first['prompt_id']}, which is not in the round "
            f"({lost.height} such)",
            hint="look at the round's generations and prompts with `rondo sql`",
        )
    return answers.with_columns(key=pl.concat_str("content_id", "context")).rename({"generation_id": "item_id"})


def _seen(table: pa.Table, verifier: Verifier) -> pl.DataFrame:
    """prompt_id, reference, prompt, context: `context` is an id of what the verifier sees beside the answer."""
    import polars as pl

    found = frame(table, ["prompt_id", "reference", "messages"])
    reference = pl.col("reference") if verifier.references else pl.lit(None, pl.String)
    prompt = pl.col("messages").list.last().struct.field("content") if verifier.prompts else pl.lit(None, pl.String)
    found = found.select("prompt_id", reference.alias("reference"), prompt.alias("prompt"))
    contexts = found.select("reference", "prompt").unique(maintain_order=True)
    marks = [content_id(f"{reference!r}/{prompt!r}") for reference, prompt in contexts.iter_rows()]
    contexts = contexts.with_columns(context=pl.Series(marks, dtype=pl.String))
    return found.join(contexts, on=["reference", "prompt"], how="left", nulls_equal=True)
