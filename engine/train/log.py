"""What a training says of itself while it runs: numbers a step, as means over the steps of one entry of `training_log`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Log:
    """Numbers by optimizer step. An entry is written every `every` steps and at the last one: the mean of each number over the steps
    since the entry before it that had the number."""

    every: int
    total: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    open: dict[str, list[float]] = field(default_factory=dict)

    def add(self, numbers: Mapping[str, float]) -> None:
        """Numbers of the step that runs now; several calls a step are allowed."""
        for name, value in numbers.items():
            self.open.setdefault(name, []).append(float(value))

    def step(self, done: int) -> None:
        """Step number `done` (from 1) is over."""
        if done % self.every == 0 or done == self.total:
            self.close(done)

    def close(self, done: int) -> None:
        """Writes an entry now, also between two that are due (a training that stops early)."""
        self.rows += [
            {"step": done, "metric": name, "value": math.fsum(values) / len(values)} for name, values in sorted(self.open.items()) if values
        ]
        self.open = {}

    def put(self, done: int, numbers: Mapping[str, float]) -> None:
        """Writes numbers that were measured once, after `done` steps."""
        self.rows += [{"step": done, "metric": name, "value": float(value)} for name, value in sorted(numbers.items())]

    def state(self) -> dict[str, Any]:
        """What a killed training needs to go on writing (JSON)."""
        return {"rows": self.rows, "open": self.open}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.rows, self.open = list(state["rows"]), {name: list(values) for name, values in state["open"].items()}
