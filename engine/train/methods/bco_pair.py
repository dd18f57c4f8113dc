"""BCO on pairs: a classifier of good and bad answers whose logit is the implicit reward; its shift is 0, as in TRL's loss of this name.

    loss = -log sigma(a) - log sigma(-b),  a, b = beta log pi/pi_ref of chosen and rejected

2 log 2 where the model is the reference. Source: Jung et al., "Binary Classifier Optimization for Large Language Model Alignment",
ACL 2025, arXiv 2404.04656.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `bco_pair`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)


@objectives.register("bco_pair")
class BcoPair(PairObjective):
    """Binary classifier optimization on pairs."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        from torch.nn.functional import logsigmoid

        chosen, rejected = self.rewards(values)
        return -logsigmoid(chosen) - logsigmoid(-rejected)
