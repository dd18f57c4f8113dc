"""SimPO: mean log-probabilities as rewards, with a target margin and without a reference.

    loss = -log sigma(beta [avg log pi(y_w) - avg log pi(y_l)] - gamma)

with means over target tokens. `nll` adds `nll` times the negative log-likelihood of the chosen answer (CPO-SimPO), a token of the
answer or of the batch (`nll_over`: TRL's is batch). Source: Meng et al., "SimPO: Simple Preference Optimization with a
Reference-Free Reward", NeurIPS 2024, arXiv 2405.14734 (gamma / beta is about 0.3 to 0.5 there).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `simpo`."""

    beta: float = F(2.0, "scale of the rewards", gt=0)
    gamma: float = F(1.0, "target margin of the rewards", ge=0)
    label_smoothing: float = F(0.0, "share of pairs whose label is taken to be wrong", ge=0, lt=0.5)
    nll: float = F(0.0, "weight of the negative log-likelihood of the chosen answer", ge=0)
    nll_over: Literal["answer", "batch"] = F("answer", "tokens that it is a mean over")


@objectives.register("simpo")
class SimPo(PairObjective):
    """Simple preference optimization."""

    Params = Params
    reference = "none"

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        from engine.train.losses import nll, smoothed

        how = self.params
        loss = smoothed(how.beta * (values.chosen_mean - values.rejected_mean) - how.gamma, how.label_smoothing)
        return loss + how.nll * nll(values, how.nll_over) if how.nll else loss

    def rewards(self, values: PairValues) -> tuple[Tensor, Tensor]:
        """beta times the mean log-probability a token."""
        return self.params.beta * values.chosen_mean, self.params.beta * values.rejected_mean
