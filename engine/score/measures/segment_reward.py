"""A reward model's numbers along an answer: of the prompt with the answer up to the end of each sentence, line or step.

Column <name> is one number of them, in `detail` stands the JSON list of all, and table `scores` gets a row a segment (item_kind
segment, part segment/<name>; in SQL `segment.scores`). `of: increment` gives what a segment adds to the number before it, the first
one to that of an empty answer. A model of outcomes is asked about unfinished answers here; one that was trained on steps knows them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pyarrow as pa
from pydantic import Field, model_validator

from engine.ids import canonical
from engine.score import forced, heads
from engine.score.heads.segments import Unit, ends
from engine.score.measures import measures
from engine.score.measures.reward_model import ByHead, logistic
from engine.step import Context


class SegmentParams(heads.Shown):
    """Which reward model, and what of its numbers."""

    model: str = Field(..., description="a role that trains a reward model of one output, or a folder with one")
    unit: Unit = Field("sentence", description="segments: sentences (by rules), lines, or steps (paragraphs)")
    of: Literal["value", "increment"] = Field("value", description="value: the number up to the segment's end; increment: what it adds")
    sigmoid: bool = Field(False, description="the logistic function of every number of the model, between 0 and 1")
    aggregate: Literal["min", "last", "mean", "product"] = Field("min", description="the number of the whole answer from its segments'")

    @model_validator(mode="after")
    def _fits(self) -> SegmentParams:
        if self.aggregate == "product" and (not self.sigmoid or self.of == "increment"):
            raise ValueError("aggregate: product needs sigmoid: true and of: value")
        return self


@measures.register("segment_reward")
class SegmentReward(ByHead):
    """Column <name> and rows of segments. Null, with a detail, where the answer is too long or has no word."""

    by_segment = True
    Params = SegmentParams

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        from engine.score.heads.classifier import Classifier
        from engine.score.heads.reading import read

        params: SegmentParams = self.params
        classifier = Classifier(ctx, forced.Named(params.model).model(ctx), params)
        texts: list[str] = []
        spans = []
        for chat, answer in zip(rows["messages"].to_pylist(), rows["response"].to_pylist(), strict=True):
            own = ends(answer, params.unit)
            prefixes = [answer[:end] for end in ([0, *own] if own and params.of == "increment" else own)]
            spans.append(range(len(texts), len(texts) + len(prefixes)))
            texts += [classifier.shown(chat, prefix) for prefix in prefixes]
        found = read(ctx, classifier, texts, label=f"segment reward ({params.model})", journal=ctx.journal)
        values: list[float | None] = []
        told = []
        for span in spans:
            own_found = [found[i] for i in span]
            why = next((one.detail for one in reversed(own_found) if one.detail), None if span else "no word to read")
            numbers = [] if why else self._numbers([one.passes[0][0] for one in own_found if one.passes])
            values.append(None if why else aggregated(numbers, params.aggregate))
            told.append(why or canonical(numbers))
        return {"": pa.table({"item_id": rows["generation_id"], "value": pa.array(values, pa.float64()), "detail": told})}

    def _numbers(self, outputs: Sequence[float]) -> list[float]:
        """The number of each segment from the model's for each prefix."""
        numbers = [logistic(output) if self.params.sigmoid else output for output in outputs]
        if self.params.of == "increment":
            numbers = [after - before for before, after in pairwise(numbers)]
        return [round(number, 12) + 0.0 for number in numbers]


def aggregated(numbers: Sequence[float], how: str) -> float:
    """One number of an answer from its segments'."""
    if how == "min":
        return min(numbers)
    if how == "last":
        return numbers[-1]
    return round(math.prod(numbers) if how == "product" else math.fsum(numbers) / len(numbers), 12) + 0.0
