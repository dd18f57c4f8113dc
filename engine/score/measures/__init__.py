"""Measures: numbers for every rollout that a model gives, or that need the whole round. A new one is one file here.

A measure is a column of `scored` beside the combined score (several, if `outputs` has several suffixes). It never enters
the combined score: held-out answers have none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from engine.params import Params, validated
from engine.registry import Registry
from engine.spec import Measure as Entry
from engine.spec import Spec
from engine.step import Context, Ref


class Measure(ABC):
    """Measures the rollouts of a round. `revision` rises when its numbers change for equal inputs.

    `outputs`: one suffix for each column that it fills; () of the name itself is "". `on_device`: it runs a model.
    """

    revision: ClassVar[int] = 1
    outputs: ClassVar[tuple[str, ...]] = ("",)
    on_device: ClassVar[bool] = False
    Params: ClassVar[type[Params]] = Params

    def __init__(self, params: Any) -> None:
        self.params = params

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """What it reads beside the rollouts and the round's prompts."""
        return []

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """JSON for the fingerprint, beside its params."""
        return {}

    @abstractmethod
    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        """For each of `outputs` a table of item_id, value (null: none) and perhaps detail, one row for each of `rows`.

        `rows`: generations with `messages` (what the model saw: the answer's own, else the prompt's), `reference` and `topic`.
        """


measures: Registry[type[Measure]] = Registry("score.measures")


def make(entry: Entry) -> Measure:
    """The measure of a spec entry. SpecError for an unknown one, or for settings that it does not have or cannot use."""
    method = measures.load(entry.method)
    return method(validated(method.Params, entry.params, f"measure ({entry.column}): params", f"the measure {entry.method!r}"))
