"""Sampling in waves until each prompt has enough right (and wrong) answers, or has used up its trials.

Rejection sampling with a target for each prompt, as DART makes data (Tong et al., arXiv 2407.13690; dart_math/gen.py). The
paper stops at `right` right answers; its code at one more (it compares with >), which `right: n + 1` gives. A wave asks all
unfinished prompts together, so batches stay full. Nothing is cut off: a prompt may have up to a wave's answers more than it
needed, and a selection takes the first. What would have been the trial of the n-th right answer is the number of that sample,
plus 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.generate.asks import with_samples
from engine.generate.budget import Target


@dataclass
class Tally:
    """Trials, right and wrong answers of each prompt so far."""

    targets: dict[str, Target]
    bar: float
    trials: dict[str, int] = field(init=False)
    right: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.trials, self.right = dict.fromkeys(self.targets, 0), dict.fromkeys(self.targets, 0)

    def add(self, prompts: Sequence[str], scores: Sequence[float | None]) -> None:
        """Counts judged answers; one without a score is wrong."""
        for prompt, score in zip(prompts, scores, strict=True):
            self.trials[prompt] += 1
            self.right[prompt] += score is not None and score >= self.bar

    def left(self) -> list[str]:
        """The prompts that are not done."""
        return [p for p, target in self.targets.items() if not target.done(self.trials[p], self.right[p], self.wrong(p))]

    def wrong(self, prompt: str) -> int:
        """Wrong answers of a prompt."""
        return self.trials[prompt] - self.right[prompt]

    def detail(self) -> dict[str, Any]:
        """For the ledger: trials and right answers of all prompts, how many prompts miss their target, and by how much."""
        short = {p: max(0, (t.right or 0) - self.right[p]) for p, t in self.targets.items()}
        short_wrong = {p: max(0, (t.wrong or 0) - self.wrong(p)) for p, t in self.targets.items()}
        return {
            "trials": sum(self.trials.values()),
            "right": sum(self.right.values()),
            "prompts_short": sum(bool(short[p] or short_wrong[p]) for p in self.targets),
            "deficit_right": sum(short.values()),
            "deficit_wrong": sum(short_wrong.values()),
        }


Ask = Callable[[pa.Table, int], pa.Table]
Scores = Callable[[pa.Table, int], list[float | None]]


def sample(prompts: pa.Table, tally: Tally, wave: int, ask: Ask, judge: Scores) -> tuple[list[pa.Table], int]:
    """The answers of each wave, and how many waves there were.

    `prompts` (prompt_id, messages) in the order in which they are asked; `ask` answers rows that also have `samples`, `judge`
    gives the scores of answers; both get the number of the wave. The tally ends up with all of them.
    """
    found: list[pa.Table] = []
    number = 0
    while left := tally.left():
        asks = prompts.filter(pc.is_in(prompts["prompt_id"], value_set=pa.array(left, pa.string())))
        ids = asks["prompt_id"].to_pylist()
        wanted = [range(tally.trials[p], min(tally.trials[p] + wave, tally.targets[p].cap)) for p in ids]
        rows = ask(with_samples(asks, wanted), number)
        tally.add(rows["prompt_id"].to_pylist(), judge(rows, number))
        found.append(rows)
        number += 1
    return found, number
