"""Answers with what a verifier needs to see, and the operator that scores batches of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine import operators
from engine.errors import StepError
from engine.ids import canonical, content_id
from engine.score import Answer, Verifier, cache
from engine.step import Context, Progress

if TYPE_CHECKING:
    import polars as pl

ASKED = ("key", "response", "reference", "prompt", "meta")
RESULT = pa.schema(
    [
        *((name, pa.string()) for name in ("key", "verdict", "detail", "runner")),
        *((name, pa.float64()) for name in ("value", "seconds")),
    ]
)
COLUMNS = ["prompt_id", "reference", "messages", "meta"]


class Verify:
    """Operator: answers in (ASKED), verdicts out (RESULT)."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        responses, references, asked, metas = (batch.column(name).to_pylist() for name in ASKED[1:])
        metas = [json.loads(meta) if meta else {} for meta in metas]
        answers = [Answer(*seen) for seen in zip(responses, references, asked, metas, strict=True)]
        verdicts, seconds = self.verifier.verify_all(answers)
        if not len(answers) == len(verdicts) == len(seconds):
            raise StepError(f"the verifier gave {len(verdicts)} verdicts and {len(seconds)} times for {len(answers)} answers")
        made: dict[str, Any] = {name: [getattr(v, name) for v in verdicts] for name in ("verdict", "detail", "runner", "value")}
        made |= {"key": batch.column("key"), "seconds": seconds}
        return pa.RecordBatch.from_arrays([pa.array(made[f.name], f.type) for f in RESULT], schema=RESULT)


def frame(table: pa.Table, columns: list[str]) -> pl.DataFrame:
    """Some columns of an Arrow table, as Polars has them."""
    import polars as pl

    found = pl.from_arrow(table.select(columns))
    assert isinstance(found, pl.DataFrame)
    return found


def verdicts(verifier: Verifier, unique: pa.Table, journal: Path, progress: Progress, label: str) -> pa.Table:
    """The verdict (RESULT) on each row of `unique` (ASKED), journaled batch by batch."""
    if not unique.num_rows:
        return RESULT.empty_table()
    texts = pa.schema([(name, pa.string()) for name in ASKED])
    return operators.run(
        lambda: Verify(verifier),
        unique.select(list(ASKED)).cast(texts),
        key="key",
        batch=verifier.batch,
        journal=journal,
        progress=progress,
        label=label,
    )


def scored_once(
    ctx: Context, verifier: Verifier, version: str, answers: pl.DataFrame, journal: Path, label: str
) -> tuple[pl.DataFrame, int]:
    """(RESULT for each different answer, how many of them an earlier step had scored). `answers` as `answers_of` gives them."""
    import polars as pl

    unique = answers.unique("key", maintain_order=True)
    known = cache.scores(ctx.lake, version, unique["key"].to_arrow().cast(pa.string())).rename({"cache_key": "key"})
    new = unique.join(known.select("key"), on="key", how="anti", maintain_order="left")
    made = frame(verdicts(verifier, new.select(ASKED).to_arrow(), journal, ctx.progress, label), RESULT.names)
    known = known.with_columns(seconds=pl.lit(0.0)).select(RESULT.names)
    found = pl.concat([known, made])
    if found.height != unique.height:
        raise StepError(f"{label}: {unique.height} different answers in, {found.height} verdicts out")
    return found, known.height


def answers_of(generations: pa.Table, prompts: list[pa.Table], verifier: Verifier, label: str) -> pl.DataFrame:
    """item_id, prompt_id, response, reference, prompt, meta, key: a row for each generation, null where the verifier needs none.

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
    """prompt_id, reference, prompt, meta, context: `context` is an id of what the verifier sees beside the answer."""
    import polars as pl

    fields = verifier.fields()
    found = frame(table, COLUMNS)
    reference = pl.col("reference") if verifier.references else pl.lit(None, pl.String)
    prompt = pl.col("messages").list.last().struct.field("content") if verifier.prompts else pl.lit(None, pl.String)
    metas = [only(text, fields) for text in found["meta"]] if fields else [None] * found.height
    found = found.select("prompt_id", reference.alias("reference"), prompt.alias("prompt"), pl.Series("meta", metas, dtype=pl.String))
    seen = ["reference", "prompt", "meta"]
    contexts = found.select(seen).unique(maintain_order=True)
    marks = [content_id("/".join(repr(value) for value in row)) for row in contexts.iter_rows()]
    contexts = contexts.with_columns(context=pl.Series(marks, dtype=pl.String))
    return found.join(contexts, on=seen, how="left", nulls_equal=True)


def only(meta: str | None, fields: tuple[str, ...]) -> str | None:
    """Some keys of a prompt's meta, as canonical JSON; None where it has none of them."""
    values = json.loads(meta) if meta else {}
    own = {name: values[name] for name in fields if name in values}
    return canonical(own) if own else None
