"""A backend without a model that answers as a test says, and remembers what it was asked."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from engine.generate import Backend, Job
from engine.generate.asks import Pair, asked
from engine.generate.rows import generations
from engine.params import Params
from generate_tiny import CPU, spec

Yields = Callable[[Job, pa.RecordBatch], Iterator[pa.RecordBatch]]


def rows(job: Job, asks: pa.RecordBatch) -> pa.RecordBatch:
    """Answers that say what was asked."""
    found = asked(job, asks)
    texts = [f"{prompt}/{sample} at {how.temperature}" for (prompt, sample), how in zip(found.pairs, found.samplers, strict=True)]
    return generations(job, found, texts, seconds=[0.5] * len(texts), models=["m"] * len(texts))


def pieces(size: int, seed: int | None = None) -> Yields:
    """Yields `size` answers at a time, shuffled where there is a seed."""

    def made(job: Job, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        whole = rows(job, asks)
        if seed is not None:
            whole = whole.take(pa.array(random.Random(seed).sample(range(whole.num_rows), whole.num_rows)))
        for start in range(0, whole.num_rows, size):
            yield whole.slice(start, size)

    return made


class Stub(Backend):
    """Answers as `made` says; `calls` holds what each call was asked."""

    needs_model = False

    def __init__(self, made: Yields = pieces(10**6), schedules: bool = False, samples: int = 3) -> None:
        super().__init__(Job(Params(), spec().generate, samples, None, None, CPU, 5, 0, "generations", False, Path("spec.yaml")))
        self.made, self.calls = made, list[list[Pair]]()
        self.schedules = schedules  # type: ignore[misc]

    @property
    def pairs(self) -> list[Pair]:
        return [pair for call in self.calls for pair in call]

    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        self.calls.append(asked(self.job, asks).pairs)
        yield from self.made(self.job, asks)
