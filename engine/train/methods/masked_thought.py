"""Masked thought: supervised fine-tuning whose answers are read with holes.

The loss is that of `sft`. At step s of T each token of an answer is replaced in the input, not in the labels, with the chance
rate(s) = min(rate, rate s / (2 T / 3 + 1)); the prompt stays, and so does what is attended to. What stands in the holes is the
tokenizer's mask token, or where it has none the token that fills rows up. Draws depend on seed, round, row, the row's visit and
position. Source: Chen et al., "Masked Thought", ACL 2024, arXiv 2403.02178, and https://github.com/ChangyuChen347/MaskedThought
(rate 0.4 for GSM8K, 0.2 for MATH).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from engine.parts.part import F, Part
from engine.train import Job, Objective, Trained, objectives

if TYPE_CHECKING:
    from engine.train.log import Log
    from engine.train.state import Consumed


class Params(Part):
    """Settings of `masked_thought`."""

    rate: float = F(0.4, "largest share of an answer's tokens that is hidden", ge=0, lt=1)
    warmup: float = F(2 / 3, "share of the steps over which the rate rises", gt=0, le=1)


def rate_at(step: int, total: int, how: Params) -> float:
    """The chance that a token is hidden at step `step` (from 0) of `total`."""
    return min(how.rate, how.rate * step / (total * how.warmup + 1))


@objectives.register("masked_thought")
class MaskedThought(Objective):
    """Fine-tuning on demonstrations whose earlier steps cannot all be relied on."""

    parts: ClassVar[bool] = True
    Params = Params

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on rows of `selected`; see `engine.train.Objective`."""
        from engine.train.quiet import quiet

        with quiet():
            return self._train(job)

    def _train(self, job: Job) -> Trained:
        from engine.train.holes import HolesCollator
        from engine.train.methods.sft import config
        from engine.train.running import Running
        from engine.train.trainer import WeightedTrainer

        running = Running(job)
        examples = running.encoder(job.settings.mask).encode(job.rows)

        def make(consumed: Consumed, log: Log) -> Any:
            hole = running.pad if running.tokenizer.mask_token_id is None else running.tokenizer.mask_token_id
            collator = HolesCollator(examples, consumed, running.pad, hole=hole, how=self.params, seed=job.seed, round_=job.round)
            return running.built(WeightedTrainer, config(running), consumed, log, data_collator=collator)

        return running.train([e.row_id for e in examples], [len(e.ids) for e in examples], make)
