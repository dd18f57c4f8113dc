"""Hinge loss on pairs: SLiC's loss with DPO's implicit rewards.

    loss = max(0, 1 - z),  z = beta [log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l)]

1 where the model is the reference; a pair whose margin is at least 1 / beta teaches nothing more. Source: Liu et al., "Statistical
Rejection Sampling Improves Preference Optimization", ICLR 2024, arXiv 2309.06657; Zhao et al., "SLiC-HF", arXiv 2305.10425 (without
a reference: objective `cpo` with `form: hinge`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `hinge`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)


@objectives.register("hinge")
class Hinge(PairObjective):
    """A hinge on the margin."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        return (1 - self.params.beta * values.margin).relu()
