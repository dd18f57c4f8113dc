"""Perplexity: exp of the mean negative log-probability a token, of an answer after its prompt, or of the prompt itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import Field

from engine.score import forced
from engine.score.measures import measures
from engine.step import Context

if TYPE_CHECKING:
    from engine.score.reader import Reader

DECIMALS = 6
LARGEST = 700.0  # nats a token; exp of more has no double


class PerplexityParams(forced.ReadingOf):
    """Which model, and what it reads."""

    of: Literal["answer", "prompt"] = Field(
        "answer", description="answer: its tokens after the prompt; prompt: the prompt's messages as plain text, by no template"
    )


@measures.register("perplexity")
class Perplexity(forced.ByModel):
    """Column <name>: 1 or more; null, with a detail, where a row is too long or has no token to read."""

    per_answer = True
    Params = PerplexityParams

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        from engine.score.reader import Likelihood

        reader = forced.load(ctx, forced.Named(self.params.model).model(ctx), self.params)
        label, columns = f"perplexity ({self.params.model})", Likelihood.columns
        encoder, read = reader, rows
        if self.params.of == "prompt":  # without answers, equal prompts are one row
            empty = pa.array([""] * rows.num_rows, pa.string())
            read = rows.set_column(rows.column_names.index("response"), "response", empty)
            encoder = Prompts(reader)  # type: ignore[assignment]
        found = forced.read(ctx, read, encoder, lambda: Likelihood(reader), columns, label=label, journal=ctx.journal)
        values = [None if mean is None else perplexity(mean) for mean in found["mean"].to_pylist()]
        return {"": pa.table({"item_id": found["item_id"], "value": pa.array(values, pa.float64()), "detail": found["detail"]})}


class Prompts:
    """Encodes the prompts of rows instead of their answers; the rest is the reader's."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.longest = reader, reader.longest

    def encode(self, rows: pa.Table) -> pa.Table:
        """As `Reader.encode`; every token but the first is a target."""
        from engine.score.reader import FIRST, IDS, KEY, SHAPE

        texts = ["\n".join(message["content"] for message in said) for said in rows["messages"].to_pylist()]
        ids = self.reader.tokenizer(texts)["input_ids"] if texts else []
        made = {KEY: rows["generation_id"].to_pylist(), IDS: ids, FIRST: [1] * len(ids)}
        return pa.Table.from_pydict(made, schema=SHAPE)


def perplexity(mean: float) -> float:
    """exp(-mean) of a mean log-probability in nats, at most the exponential of 700."""
    return round(math.exp(min(-mean, LARGEST)), DECIMALS)
