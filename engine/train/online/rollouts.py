"""Answers that train: sampled block by block with the weights as they are then, judged, and kept on disk until the step ends.

What a killed training had sampled is not sampled again: answers, verdicts, rewards, advantages and the log-probabilities under the
weights that sampled them lie in the step's journal, a folder a block.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine.errors import StepError
from engine.generate import TOGETHER, drive
from engine.generate.asks import with_samples
from engine.score.waves import Waves
from engine.step import Context, Silent
from engine.train.online.blocks import Batch, Block, Schedule

if TYPE_CHECKING:
    from engine.train.online.live import Live

FILE = "learned.json"


@dataclass
class Group:
    """A batch of a block: its answers (rows of generations, in the order of prompts and samples) with their combined scores, and once
    they are known rewards, advantages and `old`, the log-probabilities of their tokens under the weights that sampled them (None:
    nobody needs them)."""

    batch: Batch
    answers: list[dict[str, Any]]
    scores: list[float | None]
    rewards: list[float | None]
    advantages: list[float]
    old: list[list[float]] | None = None

    @property
    def ids(self) -> list[str]:
        """generation_id of every answer."""
        return [row["generation_id"] for row in self.answers]


class Rollouts:
    """The answers of every block of a schedule. `prompts` are rows of prompts, as the schedule numbers them."""

    def __init__(self, ctx: Context, live: Live, prompts: pa.Table, schedule: Schedule, label: str) -> None:
        self.prompts, self.schedule, self._live, self._label = prompts, schedule, live, label
        self._folder = ctx.journal / "rollouts"
        aside = copy.copy(ctx)
        aside.progress = Silent()  # the bar shows optimizer steps
        self._waves = Waves(aside, prompts, label)
        self._groups: dict[int, list[Group]] = {}

    def groups(self, block: Block, learn: Callable[[list[Group]], None] | None = None) -> list[Group]:
        """A group for each batch of the block. `learn` fills in rewards, advantages and log-probabilities where nobody has yet.

        StepError where the block is past and its files are gone: the weights that answered it are no more.
        """
        if block.number in self._groups:
            return self._groups[block.number]
        folder = self._path(block)
        done = (folder / FILE).exists()
        if not done and learn is None:
            raise StepError(
                f"{self._label}: the answers of optimizer step {block.after + 1} are gone, and so are the weights that gave them",
                where=str(folder),
                hint="remove the journal folder of this step and run again",
            )
        found = self._answered(block, folder)
        if done:
            for group, kept in zip(found, json.loads((folder / FILE).read_text(encoding="utf-8")), strict=True):
                group.rewards, group.advantages, group.old = kept["rewards"], kept["advantages"], kept["old"]
        elif learn:
            learn(found)
            _write(folder / FILE, [{name: getattr(group, name) for name in ("rewards", "advantages", "old")} for group in found])
        self._groups[block.number] = found
        return found

    def forget(self, number: int) -> None:
        """Drops what only training needs of block `number`, which is past."""
        for group in self._groups.get(number, []):
            group.old = None

    def all(self) -> list[tuple[Block, Group]]:
        """Every group with its block, in the order in which they were answered."""
        return [(block, group) for block in self.schedule.blocks for group in self.groups(block)]

    def verdicts(self) -> dict[str, pa.Table]:
        """Rows of `scores` by scorer, for every block; to be asked once `all` has been."""
        return {part.rpartition("/")[2]: rows for (_, part), rows in self._waves.rows().items()}

    def close(self) -> None:
        """Frees what the verifiers hold."""
        self._waves.close()

    def _path(self, block: Block) -> Path:
        return self._folder / f"{block.number:06d}"

    def _answered(self, block: Block, folder: Path) -> list[Group]:
        live = self._live
        live.job = replace(live.job, how={**live.job.how, "after": block.after})
        rows = [row for batch in block.batches for row in batch.prompts]
        asks = with_samples(self.prompts.take(pa.array(rows, pa.int64())), [s for batch in block.batches for s in batch.samples])
        size = TOGETHER if live.job.batch == "auto" else live.job.batch
        with live.answering():
            made = drive.answers(live, live.prepare(asks), batch=size, journal=folder, progress=Silent(), label=self._label)
        names = self.prompts["prompt_id"].to_pylist()
        places = {(one["prompt_id"], one["sample"]): place for place, one in enumerate(made.select(["prompt_id", "sample"]).to_pylist())}
        order = [
            places[names[row], n]
            for batch in block.batches
            for row, numbers in zip(batch.prompts, batch.samples, strict=True)
            for n in numbers
        ]
        made = made.take(pa.array(order, pa.int64()))
        answers, scores = made.to_pylist(), self._waves(made, folder / "judged")
        groups, start = [], 0
        for batch in block.batches:
            own = slice(start, start + batch.answers)
            groups.append(Group(batch, answers[own], scores[own], [], []))
            start += batch.answers
        return groups


def _write(path: Path, value: Any) -> None:
    """The file appears whole or not at all."""
    beside = path.with_suffix(".partial")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
