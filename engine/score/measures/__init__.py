"""Measures: numbers for every answer that a model gives, or that need the whole round. A new one is one file here.

A measure is a column of `scored` (several, if `outputs` has several suffixes). In `measure` it numbers the rollouts, beside the
combined score. In `score`, where only a measure may stand that looks at one answer at a time (`per_answer`), it numbers every
part of generations, and the combined score may use it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import pyarrow as pa

from engine.errors import SpecError
from engine.params import validated
from engine.registry import Registry
from engine.score.method import Method
from engine.spec import Measure as Entry
from engine.spec import Scorer
from engine.step import Context


class Measure(Method, ABC):
    """Measures answers.

    `outputs`: one suffix for each column that it fills; () of the name itself is "" (an instance may set its own in __init__).
    `per_answer`: an answer's number depends on nothing but its text, what the model saw, the reference, the prompt's meta,
    `settings` and `versions`; it may then stand in `score`, and is computed once for ever.
    `by_segment`: where the first output has a value, its `detail` is a JSON list of numbers, one a segment of the answer; those of
    rollouts become rows of `scores` with item_kind segment, in the part segment/<name>.
    """

    outputs: tuple[str, ...] = ("",)
    per_answer: ClassVar[bool] = False
    by_segment: ClassVar[bool] = False

    @abstractmethod
    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        """For each of `outputs` a table of item_id, value (null: none) and perhaps verdict, detail, seconds, prompt_tokens and
        response_tokens (of a judge, in the first output only), one row for each of `rows`.

        `rows`: generations with `messages` (what the model saw: the answer's own, else the prompt's), `reference`, `topic` and `meta`
        (JSON). Those of a measure that is `per_answer` are different answers, and perhaps not all of the round.
        """


measures: Registry[type[Measure]] = Registry("score.measures")


def make(entry: Entry | Scorer) -> Measure:
    """The measure of a spec entry. SpecError for an unknown one, or for settings that it does not have or cannot use."""
    name, field = (entry.measure, "score") if isinstance(entry, Scorer) else (entry.method, "measure")
    assert name is not None
    method = measures.load(name)
    return method(validated(method.Params, entry.params, f"{field} ({entry.column}): params", f"the measure {name!r}"))


def columns_of(entry: Entry | Scorer) -> list[str]:
    """The columns of `scored` that an entry fills."""
    if isinstance(entry, Entry) and entry.sql:
        return [entry.column]
    return [entry.column + suffix for suffix in make(entry).outputs]


def check_per_answer(scorer: Scorer) -> None:
    """SpecError where an entry of `score` names a measure that needs more than one answer."""
    assert scorer.measure is not None
    if not measures.load(scorer.measure).per_answer:
        known = [name for name in measures.names() if _per_answer(name)]
        raise SpecError(
            f"score ({scorer.column}): {scorer.measure} looks at more than one answer, so it cannot score held-out answers one by one",
            hint=f"put it under `measure`; in `score` may stand {', '.join(known)}",
        )


def _per_answer(name: str) -> bool:
    try:
        return measures.load(name).per_answer
    except ImportError:
        return False
