"""Supervised fine-tuning on weighted demonstrations: TRL's SFTTrainer, adapters through PEFT."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from engine.train import Job, Objective, Trained, objectives

if TYPE_CHECKING:
    from engine.train.encode import Example
    from engine.train.log import Log
    from engine.train.running import Running
    from engine.train.state import Consumed
    from engine.train.trainer import WeightedTrainer


@objectives.register("sft")
class Sft(Objective):
    """Minimises the weighted mean negative log-likelihood of the target tokens (see `engine.train.trainer`)."""

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on rows of `selected`; see `engine.train.Objective`."""
        from engine.train.quiet import quiet

        with quiet():
            return _train(job)


def _train(job: Job) -> Trained:
    from engine.train.running import Running

    running = Running(job)
    examples = running.encoder(job.settings.mask).encode(job.rows)
    return running.train([e.row_id for e in examples], [len(e.ids) for e in examples], partial(trainer, running, examples))


def trainer(running: Running, examples: Sequence[Example], consumed: Consumed, log: Log) -> WeightedTrainer:
    """The trainer over the planned batches of `examples`."""
    from trl import SFTConfig

    from engine.train.trainer import Collator, WeightedTrainer

    config = SFTConfig(**running.arguments(), max_length=None, dataset_kwargs={"skip_prepare_dataset": True})
    return running.built(WeightedTrainer, config, consumed, log, data_collator=Collator(examples, consumed.plan, running.pad))
