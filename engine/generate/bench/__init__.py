"""Measures backends on this machine: tokens a second, start-up and memory of settings that change no row, and which to take.

Every setting runs in a process of its own, so that its peak memory is its own. Settings take turns, and their answers are
compared: with one model, seed and number of threads, batch sizes and ways of batching must give the same texts. Nothing is
written to the lake.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Metric = Literal["tokens", "answers"]
ALONE = 0.1  # half the range that is assumed for a rate that was measured once


@dataclass(frozen=True)
class Setting:
    """One way to run a backend. `axis` is what `size` counts: `batch`, or the setting of the backend's own that takes its place.

    `params` are the backend's own settings in full; `batching` repeats the one of them that was varied, where one was.
    `present`: as the spec has it.
    """

    backend: str
    axis: str
    size: int | Literal["auto"] | None
    batching: str | None
    threads: int
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    present: bool = False

    @property
    def text(self) -> str:
        """For progress and messages, such as `transformers, batch 128, continuous, threads 2`."""
        size = "as the backend likes" if self.size is None else self.size
        return ", ".join([self.backend, f"{self.axis} {size}", *([self.batching] if self.batching else []), f"threads {self.threads}"])


@dataclass(frozen=True)
class Repeat:
    """One measurement; `tokens` is None where the backend does not count them. `seconds`: wall time."""

    answers: int
    tokens: int | None
    seconds: float


@dataclass
class Figures:
    """What was measured of a setting, or why nothing was.

    `start`: seconds from nothing to the first token, imports and loading included (median). `memory`: most bytes resident at once in
    the process and its children (pages that they share count in each); `gpu`: bytes of the device. `failed` says what went wrong in
    `reason`: `memory`, `slow`, `refused` (its own error) or `crashed`.
    """

    setting: Setting
    starts: list[float] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    memory: int | None = None
    gpu: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    failed: str | None = None
    reason: str | None = None

    @property
    def start(self) -> float | None:
        """Seconds to the first token."""
        return statistics.median(self.starts) if self.starts else None

    @property
    def measured(self) -> bool:
        """Whether it has a rate."""
        return bool(self.repeats) and self.failed is None

    def rates(self, metric: Metric) -> list[float]:
        """What it made a second, by repeat."""
        return [(getattr(one, metric) or 0) / one.seconds for one in self.repeats]

    def rate(self, metric: Metric) -> float:
        """The median of the repeats."""
        return statistics.median(self.rates(metric))

    def span(self, metric: Metric) -> tuple[float, float]:
        """The slowest and the fastest repeat; 10% around a single one."""
        rates = self.rates(metric)
        return (rates[0] * (1 - ALONE), rates[0] * (1 + ALONE)) if len(rates) == 1 else (min(rates), max(rates))


def metric(rows: Sequence[Figures]) -> Metric:
    """What is compared: tokens, or answers where a backend does not count its tokens."""
    return "answers" if any(one.tokens is None for row in rows if row.measured for one in row.repeats) else "tokens"
