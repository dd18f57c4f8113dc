"""DPO: preferences without a reward model.

    loss = -log sigma(z),  z = beta [log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l)]

with sums over target tokens. `label_smoothing` eps gives cDPO: (1 - eps)(-log sigma(z)) + eps(-log sigma(-z)), whose optimum is
z = log((1 - eps)/eps). `nll` adds `nll` times the mean negative log-likelihood of the chosen answer a token (Iterative RPO,
arXiv 2404.19733). Source: Rafailov et al., "Direct Preference Optimization", NeurIPS 2023, arXiv 2305.18290.

Over several turns (M-DPO, arXiv 2409.02392) it is the same formula: with `mask: assistant` (or `message` and weights of 0) what tools
and users say inside an answer is context, and the sums run over the model's own tokens of all turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `dpo`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)
    label_smoothing: float = F(0.0, "share of pairs whose label is taken to be wrong", ge=0, lt=0.5)
    nll: float = F(0.0, "weight of the negative log-likelihood of the chosen answer a token", ge=0)


@objectives.register("dpo")
class Dpo(PairObjective):
    """Direct preference optimization."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula; log 2 where the model is the reference."""
        from engine.train.losses import nll, smoothed

        how = self.params
        loss = smoothed(how.beta * values.margin, how.label_smoothing)
        return loss + how.nll * nll(values, "answer") if how.nll else loss
