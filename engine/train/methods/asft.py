"""ASFT: each answer alone is made likely or unlikely by its odds, without a reference.

    loss = NLL(y_w) - weight * [log sigma(beta log odds(y_w)) + log sigma(-beta log odds(y_l))],  odds = p / (1 - p)

with p = exp(avg log pi(y)) over target tokens, and the likelihood a token of the answer. At beta 1 the second term is
-log p(y_w) - log(1 - p(y_l)). `nll: 0` leaves the first term to a stage of its own. Not the anchored fine-tuning of the same name.
Source: Wang et al., "ASFT: Aligned Supervised Fine-Tuning through Absolute Likelihood", arXiv 2409.10571; beta: Gorbatovski et al.,
arXiv 2502.01237.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `asft`."""

    beta: float = F(1.0, "scale of the log-odds", gt=0)
    weight: float = F(1.0, "of the alignment term", gt=0)
    nll: float = F(1.0, "weight of the negative log-likelihood of the chosen answer a token", ge=0)


@objectives.register("asft")
class Asft(PairObjective):
    """Aligned supervised fine-tuning through absolute likelihood."""

    Params = Params
    reference = "none"

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        from torch.nn.functional import logsigmoid

        from engine.train.losses import log_odds, nll

        how = self.params
        chosen, rejected = how.beta * log_odds(values.chosen_mean), how.beta * log_odds(values.rejected_mean)
        return how.nll * nll(values, "answer") - how.weight * (logsigmoid(chosen) + logsigmoid(-rejected))

    def rewards(self, values: PairValues) -> tuple[Tensor, Tensor]:
        """beta times the mean log-probability a token."""
        return self.params.beta * values.chosen_mean, self.params.beta * values.rejected_mean
