"""NCA on pairs: the likelihood of the chosen answer is held up while the margin grows.

    loss = -log sigma(a) - 1/2 log sigma(-a) - 1/2 log sigma(-b),  a, b = beta log pi/pi_ref of chosen and rejected

2 log 2 where the model is the reference. Source: Chen et al., "Noise Contrastive Alignment of Language Models with Explicit Rewards",
NeurIPS 2024, arXiv 2402.05369.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `nca_pair`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)


@objectives.register("nca_pair")
class NcaPair(PairObjective):
    """Noise contrastive alignment on pairs."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        from torch.nn.functional import logsigmoid

        chosen, rejected = self.rewards(values)
        return -logsigmoid(chosen) - (logsigmoid(-chosen) + logsigmoid(-rejected)) / 2
