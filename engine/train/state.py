"""What a killed training goes on from: trainer states in one folder, each whole or not there, and what they had consumed."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from engine.errors import StepError
from engine.ids import digest
from engine.train.heldout import Look
from engine.train.log import Log

CONSUMED = "consumed.json"
PARTIAL = ".partial"
FIRST = 10  # steps whose losses say what is usual
STATE = re.compile(r"checkpoint-(\d+)")


@dataclass
class Consumed:
    """The batches that the trainer has really trained on, as it ran, beside the plan that it should follow.

    The last `held` batches of the plan never train: `looks` are what they said. `stopped` is the step at which they ended the training.
    """

    plan: list[list[int]]
    row_ids: Sequence[str]
    batches: list[int] = field(default_factory=list)
    loss_sum: float = 0.0
    first: list[float] = field(default_factory=list)
    last: float = math.nan
    held: int = 0
    looks: list[Look] = field(default_factory=list)
    stopped: int | None = None

    @property
    def steps(self) -> int:
        """How many batches of the plan train."""
        return len(self.plan) - self.held

    def rows(self, batch: int) -> list[str]:
        """The row_ids of a batch of the plan."""
        return [self.row_ids[i] for i in self.plan[batch]]

    def order(self) -> list[str]:
        """The row_ids in order of consumption, repeats included."""
        return [row for batch in self.batches for row in self.rows(batch)]

    def add(self, batch: int, loss: float) -> None:
        """Batch number `batch` has been trained on with a mean loss in nats a token."""
        self.batches.append(batch)
        self.loss_sum += loss
        self.last = loss
        if len(self.first) < FIRST:
            self.first.append(loss)

    def limit(self, times: float | None) -> float:
        """The loss above which a training has diverged: `times` the median of its first steps, which counts as 1 where it is less
        (a loss near 0 may rise many times over). Infinite before those steps are over, and without `times`."""
        return math.inf if times is None or len(self.first) < FIRST else times * max(1.0, median(self.first))

    def save(self, folder: Path, log: Log) -> None:
        """Writes what was consumed, and the log so far, into a trainer state."""
        rows = self.order()
        facts = {"steps": len(self.batches), "rows": len(rows), "digest": digest(rows), "loss_sum": self.loss_sum, "first": self.first}
        facts |= {"log": log.state(), "looks": [asdict(look) for look in self.looks]}
        (folder / CONSUMED).write_text(json.dumps(facts), encoding="utf-8")

    def restore(self, folder: Path, log: Log) -> None:
        """Takes over what a trainer state had consumed and logged. StepError where that is not what the plan says."""
        facts = json.loads((folder / CONSUMED).read_text(encoding="utf-8"))
        self.batches, self.loss_sum, self.first = list(range(facts["steps"])), facts["loss_sum"], facts["first"]
        self.looks = [Look(**look) for look in facts["looks"]]
        log.restore(facts["log"])
        if facts["steps"] > self.steps or digest(self.order()) != facts["digest"]:
            raise StepError(
                f"the trainer state had consumed {facts['rows']} rows in {facts['steps']} steps, which is not how this training begins",
                where=str(folder),
                hint="remove this folder and run again",
            )

    def check(self) -> None:
        """StepError unless every batch of the plan, up to where held-out rows ended the training, was trained on once, in order."""
        steps = self.steps if self.stopped is None else self.stopped
        if self.batches != list(range(steps)):
            expected, found = sum(map(len, self.plan[:steps])), len(self.order())
            raise StepError(
                f"expected {steps} steps over {expected} rows in the planned order, found {len(self.batches)} steps over {found} rows",
                hint="remove the journal folder of this step and run again",
            )


def newest(folder: Path) -> Path | None:
    """The trainer state with the most steps; what a killed process had half written is removed. None where there is none."""
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)
    whole = [(int(match[1]), path) for path in folder.glob("checkpoint-*") if (match := STATE.fullmatch(path.name))]
    return max(whole)[1] if whole else None


def publish(folder: Path, name: str) -> None:
    """Makes the state `name`, written below PARTIAL, the newest one: durable first, then renamed, then older ones go."""
    partial = folder / PARTIAL / name
    for path in [*partial.rglob("*"), partial]:
        if path.is_file() or path == partial:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    target = folder / name
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)
    for path in folder.glob("checkpoint-*"):
        if path != target:
            shutil.rmtree(path, ignore_errors=True)
