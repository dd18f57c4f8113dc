"""Trains online in the folder given, and is killed at a moment that a test chooses: `sample N` while block N (from 0) is
sampled, `step N` when the gradients of step N (from 1) are there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.train.online.live import Live
from online_small import TWICE, online, run
from train_small import Events


class Die(Events):
    """Is killed at a step."""

    def advance(self, rows: int) -> None:
        self.steps += rows
        if self.steps == self.stop_at:
            os.kill(os.getpid(), signal.SIGKILL)


def sampled(block: int) -> None:
    """Lets the process die after the first answers of a block."""
    generate, seen = Live.generate, []

    def dying(self: Live, asks: pa.RecordBatch) -> Iterator[Any]:
        seen.append(asks)
        made = generate(self, asks)
        for rows in made:
            if len(seen) == block + 1:
                yield rows.slice(0, 2)
                os.kill(os.getpid(), signal.SIGKILL)
            yield rows

    Live.generate = dying  # type: ignore[method-assign]


def main(folder: Path, model: Path, name: str, when: str, number: int) -> None:
    """One training."""
    if when == "sample":
        sampled(number)
    progress = Die(stop_at=number if when == "step" else -1)
    run(online(folder, model, name, progress=progress, **TWICE))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
