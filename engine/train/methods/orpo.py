"""ORPO: supervised fine-tuning on the chosen answers with a penalty by the odds ratio, without a reference.

    loss = NLL(y_w) - weight * log sigma(log odds(y_w) - log odds(y_l)),  odds = p / (1 - p),  p = exp(avg log pi(y))

with means over target tokens. The likelihood is that of the answer alone; TRL's also learns the prompt. `nll_over` says what it is a
mean over: all target tokens of the batch (TRL) or those of the answer. Source: Hong et al., "ORPO: Monolithic Preference
Optimization without Reference Model", EMNLP 2024, arXiv 2403.07691 (`weight` is its lambda).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `orpo`."""

    weight: float = F(0.1, "of the odds ratio term", gt=0)
    nll_over: Literal["batch", "answer"] = F("batch", "tokens that the negative log-likelihood is a mean over")


@objectives.register("orpo")
class Orpo(PairObjective):
    """Odds ratio preference optimization."""

    Params = Params
    reference = "none"

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        from torch.nn.functional import logsigmoid

        from engine.train.losses import log_odds, nll

        ratio = log_odds(values.chosen_mean) - log_odds(values.rejected_mean)
        return nll(values, self.params.nll_over) - self.params.weight * logsigmoid(ratio)

    def rewards(self, values: PairValues) -> tuple[Tensor, Tensor]:
        """`weight` times the mean log-probability a token."""
        return self.params.weight * values.chosen_mean, self.params.weight * values.rejected_mean
