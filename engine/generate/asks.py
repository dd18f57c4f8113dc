"""What a batch asks for: how many answers to each prompt, which trials of it those are, and with which sampler.

A row of a batch has prompt_id and messages. A column `samples` (list of numbers) says which of the prompt's answers are asked;
without it those from 0 to `job.samples` - 1. An answer's number enters its id and starts its random draws, so waves, batches and
crashes never change it. Columns named like fields of the sampler (temperature, top_p, top_k, max_tokens) stand for those of the
job, row by row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from engine.randomness import row_keys
from engine.spec import Sampler

if TYPE_CHECKING:
    import numpy as np

    from engine.generate import Job

NUMBERS = pa.list_(pa.int64())
PER_ROW = ("temperature", "top_p", "top_k", "max_tokens")
Pair = tuple[str, int]


class Asked(NamedTuple):
    """`counts`: answers to each row of a batch; `prompts`, `samples`, `samplers`: the prompt's id, the trial's number and the
    sampler of each answer, in the order of the rows."""

    counts: list[int]
    prompts: list[str]
    samples: list[int]
    samplers: list[Sampler]

    @property
    def pairs(self) -> list[Pair]:
        """(prompt id, number) of each answer."""
        return list(zip(self.prompts, self.samples, strict=True))

    def keys(self, job: Job) -> np.ndarray:
        """The random stream of each answer (uint64): a function of seed, round, step, actor, prompt and number alone."""
        return row_keys(job.seed, job.round, job.step, [f"{job.stream}{prompt}/{sample}" for prompt, sample in self.pairs])

    def seeds(self, job: Job) -> list[int | None]:
        """A seed of 31 bits for each answer, for engines that draw themselves; None for greedy answers."""
        keys = (self.keys(job) >> 33).tolist()
        return [None if sampler.temperature == 0 else key for key, sampler in zip(keys, self.samplers, strict=True)]


def numbers(job: Job, batch: pa.RecordBatch | pa.Table) -> list[list[int]]:
    """The numbers of the answers that are asked of each row."""
    if "samples" in batch.schema.names:
        return batch.column("samples").to_pylist()
    return [list(range(job.samples))] * batch.num_rows


def samplers(job: Job, batch: pa.RecordBatch | pa.Table) -> list[Sampler]:
    """The sampler of each row: the job's, with the row's own settings over it."""
    own = [name for name in PER_ROW if name in batch.schema.names]
    plain, made = Sampler(**{name: getattr(job.sampler, name) for name in Sampler.model_fields}), dict[tuple[Any, ...], Sampler]()
    if not own:
        return [plain] * batch.num_rows
    found = []
    for values in zip(*(batch.column(name).to_pylist() for name in own), strict=True):
        if values not in made:
            made[values] = plain.model_copy(update={n: v for n, v in zip(own, values, strict=True) if v is not None})
        found.append(made[values])
    return found


def asked(job: Job, batch: pa.RecordBatch | pa.Table) -> Asked:
    """What `batch` asks for, answer by answer in the order of its rows."""
    wanted, how = numbers(job, batch), samplers(job, batch)
    prompts = batch.column("prompt_id").to_pylist()
    return Asked(
        [len(own) for own in wanted],
        [prompt for prompt, own in zip(prompts, wanted, strict=True) for _ in own],
        [sample for own in wanted for sample in own],
        [one for one, own in zip(how, wanted, strict=True) for _ in own],
    )


def with_samples(prompts: pa.Table, wanted: Sequence[Sequence[int]]) -> pa.Table:
    """`prompts` with the numbers of the answers that are asked; those that are asked none are left out."""
    if "samples" in prompts.column_names:
        prompts = prompts.drop_columns(["samples"])
    found = prompts.append_column("samples", pa.array([list(own) for own in wanted], NUMBERS))
    return found.filter(pa.array([bool(own) for own in wanted], pa.bool_()))


def without(job: Job, asks: pa.Table, done: Collection[Pair]) -> pa.Table:
    """What of `asks` is left to do."""
    if not done:
        return asks
    wanted = numbers(job, asks)
    prompts = asks["prompt_id"].to_pylist()
    return with_samples(asks, [[n for n in own if (prompt, n) not in done] for prompt, own in zip(prompts, wanted, strict=True)])


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
