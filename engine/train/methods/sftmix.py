"""SFTMix: supervised fine-tuning with confident and unconfident rows mixed in the last hidden layer.

    Z = lambda Z_c + (1 - lambda) Z_u
    loss of a batch = NTP + mu mean over positions of [lambda (-log p(c_k | Z_k)) + (1 - lambda) (-log p(u_k | Z_k))]

c and u are a confident row and its unconfident partner, Z the hidden states that the output layer reads, lambda drawn from
Beta(0.5, 0.5) for each pair; NTP is the loss of `sft` on both rows. The k-th target of one row meets the k-th of the other, and the
longer row's rest takes no part (aligned by targets, since prompts have unlike lengths). Partners stand in one batch. Columns of `extra`:
`half` (1 confident, 0 unconfident), `pair` (a number that both partners have), `lambda`; a row without `pair` trains by NTP alone.
They come from SQL over losses under several checkpoints: sql/select/sftmix.sql.
Source: Xiao et al., "SFTMix: Elevating Language Model Instruction Tuning with Mixup Recipe", ACL 2026, arXiv 2410.05248 (mu 0.2).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from engine.errors import SpecError
from engine.parts.part import F, Part
from engine.spec import Spec, Train
from engine.train import Job, Objective, Trained, objectives


class Params(Part):
    """Settings of `sftmix`."""

    mu: float = F(0.2, "weight of the loss on mixed states", ge=0)


@objectives.register("sftmix")
class SftMix(Objective):
    """Mixup of confident and unconfident demonstrations."""

    parts: ClassVar[bool] = True
    Params = Params

    def check(self, spec: Spec, train: Train, spec_path: Path) -> None:
        """SpecError for settings in which partners could not stand in one batch, or an order that is not theirs."""
        if train.batch_size % 2 or (train.micro_batch or 2) % 2:
            raise SpecError(
                f"train.batch_size, micro_batch: sftmix trains rows in pairs, found {train.batch_size} and {train.micro_batch}",
                hint="give even numbers",
            )
        if train.order == "selected":
            raise SpecError("train.order: selected, but sftmix orders its rows in pairs", hint="set train.order: random")

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on rows of `selected`; see `engine.train.Objective`."""
        from engine.train.mixing import train
        from engine.train.quiet import quiet

        with quiet():
            return train(job, self.params.mu)
