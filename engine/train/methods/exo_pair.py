"""EXO on pairs: the reverse KL divergence from the model's choice between two answers to the label's, where DPO takes the forward one.

    loss = q log(q / (1 - eps)) + (1 - q) log((1 - q) / eps),  q = sigma(z),  z as in `dpo`

eps is how wrong labels may be: at 0 the divergence is infinite. Source: Ji et al., "Towards Efficient Exact Optimization of Language
Model Alignment", ICML 2024, arXiv 2402.00856, equation 16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `exo_pair`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)
    label_smoothing: float = F(0.001, "probability that a label is wrong", gt=0, lt=0.5)


@objectives.register("exo_pair")
class ExoPair(PairObjective):
    """Efficient exact optimization on pairs."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        from math import log, log1p

        from torch.nn.functional import logsigmoid

        z, eps = self.params.beta * values.margin, self.params.label_smoothing
        return z.sigmoid() * (logsigmoid(z) - log1p(-eps)) + (-z).sigmoid() * (logsigmoid(-z) - log(eps))
