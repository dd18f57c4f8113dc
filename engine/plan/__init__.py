"""The plan room: what a round runs with, from earlier rounds or from a calibration. It fills the table `plan`.

An entry of `plan` is a SQL file that gives key, item_id (null: for all), value and reason; where SQL cannot say it, a
method: one file here. `prompts.mix.plan` and `generate.plan` name the entry that they follow; selections read the table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from engine.params import Params, validated
from engine.registry import Registry
from engine.spec import Plan, Spec
from engine.step import Context, Ref


class Planner(ABC):
    """Plans a round. `revision` rises when its rows change for equal inputs."""

    revision: int = 1
    Params: type[Params] = Params

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """The parts that it reads."""

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """JSON for the fingerprint, beside its params."""
        return {}

    @abstractmethod
    def plan(self, ctx: Context) -> list[dict[str, Any]]:
        """Rows of `plan`: key, item_id, value (anything that JSON can hold) and reason."""


planners: Registry[type[Planner]] = Registry("plan", not_methods=("steps",))


def make(entry: Plan) -> Planner:
    """The method of an entry with its settings. SpecError for an unknown one or for settings that it cannot use."""
    assert entry.method is not None
    method = planners.load(entry.method)
    return method(validated(method.Params, entry.params, f"plan ({entry.name}): params", f"the planner {entry.method!r}"))
