"""TPO: a gold answer to learn, a chosen and a rejected one to tell apart; without a reference.

    sum     loss = -log sigma(beta [log pi(y_w) - log pi(y_l)]) + alpha * NLL(gold)
    tokens  loss = -log sigma(beta [avg log pi(y_w) - avg log pi(y_l)] - gamma) + alpha * NLL(gold)     TPO-L

The gold answer is the row's `third`; `nll_over` says what its likelihood is a mean over: all of its target tokens in the batch (TRL)
or those of the answer. With gold = chosen it is CPO. Source: Saeidi et al., "Triple Preference Optimization", arXiv 2405.16681.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `tpo`."""

    beta: float = F(0.01, "scale of the log-probabilities (TPO-L: about 10)", gt=0)
    alpha: float = F(1.0, "weight of the likelihood of the gold answer", ge=0)
    normalise: Literal["none", "tokens"] = F("none", "sums, or means over tokens (TPO-L)")
    gamma: float = F(0.5, "target margin of TPO-L", ge=0)
    nll_over: Literal["batch", "answer"] = F("batch", "tokens that the likelihood is a mean over")
    label_smoothing: float = F(0.0, "share of pairs whose label is taken to be wrong", ge=0, lt=0.5)


@objectives.register("tpo")
class Tpo(PairObjective):
    """Triple preference optimization."""

    Params = Params
    reference = "none"
    third = True

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formulas."""
        from engine.train.losses import nll, smoothed

        how = self.params
        z = how.beta * values.margin_a_token - how.gamma if how.normalise == "tokens" else how.beta * values.margin
        return smoothed(z, how.label_smoothing) + how.alpha * nll(values, how.nll_over, "third")

    def rewards(self, values: PairValues) -> tuple[Tensor, Tensor]:
        """beta times the log-probability, summed or a token, as the loss has it."""
        if self.params.normalise == "none":
            return super().rewards(values)
        return self.params.beta * values.chosen_mean, self.params.beta * values.rejected_mean
