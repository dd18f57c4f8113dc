"""Supervised fine-tuning on weighted demonstrations: TRL's SFTTrainer, adapters through PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from engine.parts.part import F, Part
from engine.train import Job, Objective, Trained, objectives

if TYPE_CHECKING:
    from engine.train.encode import Example
    from engine.train.log import Log
    from engine.train.running import Running
    from engine.train.state import Consumed
    from engine.train.trainer import WeightedTrainer


class Params(Part):
    """Settings of `sft`."""

    packing: Literal["none", "bfd"] = F(
        "none", "bfd: the rows of a batch stand in sequences of at most max_length tokens, by best fit decreasing, and see only themselves"
    )


@objectives.register("sft")
class Sft(Objective):
    """Minimises the weighted mean negative log-likelihood of the target tokens (see `engine.train.trainer`).

    Reward-weighted regression is this with weights exp(score / tau) from SQL: sql/select/weighted.sql.
    """

    parts: ClassVar[bool] = True
    Params = Params

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on rows of `selected`; see `engine.train.Objective`."""
        from engine.train.quiet import quiet

        with quiet():
            return _train(job, self.params.packing == "bfd")


def _train(job: Job, packed: bool) -> Trained:
    from engine.train.running import Running

    running = Running(job)
    examples = running.encoder(job.settings.mask).encode(job.rows)
    make = partial(trainer, running, examples, packed=packed)
    return running.train([e.row_id for e in examples], [len(e.ids) for e in examples], make)


def trainer(running: Running, examples: Sequence[Example], consumed: Consumed, log: Log, packed: bool = False) -> WeightedTrainer:
    """The trainer over the planned batches of `examples`."""
    from engine.train.trainer import Collator, WeightedTrainer

    collator = _packing(running, examples, consumed) if packed else Collator(examples, consumed.plan, running.pad)
    return running.built(WeightedTrainer, config(running), consumed, log, data_collator=collator)


def config(running: Running) -> Any:
    """TRL's configuration for rows that are tokenised already."""
    from trl import SFTConfig

    return SFTConfig(**running.arguments(), max_length=None, dataset_kwargs={"skip_prepare_dataset": True})


def _packing(running: Running, examples: Sequence[Example], consumed: Consumed) -> Any:
    from engine.train import packing

    packing.check(running.model, str(running.job.model), running.job.device.dtype)
    how = running.job.settings
    return packing.PackingCollator(
        examples,
        consumed.plan,
        running.pad,
        capacity=how.max_length,
        micro=how.micro_batch,
        flat=running.model.config._attn_implementation == packing.FLASH,
    )
