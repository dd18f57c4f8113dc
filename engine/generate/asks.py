"""What a batch of prompts asks for: how many answers to each row, and which trials of their prompts those are.

A row of a batch has prompt_id and messages; columns `samples` (answers to this row) and `first` (the number of the first
of them) may stand beside them. Without those a row is asked `job.samples` times, from 0 on. An answer's number enters its
id and starts its random draws, so waves and batches never change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

if TYPE_CHECKING:
    from engine.generate import Job


class Asked(NamedTuple):
    """`counts`: answers to each row of a batch; `prompts`, `samples`: the prompt's id and the trial's number of each answer."""

    counts: list[int]
    prompts: list[str]
    samples: list[int]

    @property
    def streams(self) -> list[str]:
        """What the random draws of each answer are keyed by."""
        return [f"{prompt}/{sample}" for prompt, sample in zip(self.prompts, self.samples, strict=True)]


def asked(job: Job, batch: pa.RecordBatch | pa.Table) -> Asked:
    """What `batch` asks for, answer by answer in the order of its rows."""
    prompts = batch.column("prompt_id").to_pylist()
    counts = batch.column("samples").to_pylist() if "samples" in batch.schema.names else [job.samples] * len(prompts)
    firsts = batch.column("first").to_pylist() if "first" in batch.schema.names else [0] * len(prompts)
    return Asked(
        counts,
        [prompt for prompt, count in zip(prompts, counts, strict=True) for _ in range(count)],
        [first + k for first, count in zip(firsts, counts, strict=True) for k in range(count)],
    )


def batches(counts: list[int], most: int) -> list[int]:
    """Rows of each batch, in order: as many as together ask at most `most` answers, and at least one."""
    sizes: list[int] = []
    answers = most
    for count in counts:
        if answers + count > most:
            sizes.append(0)
            answers = 0
        sizes[-1] += 1
        answers += count
    return sizes
