"""APO-down: both answers down, the rejected one further; for pairs whose chosen answer is worse than the model's own.

    loss = sigma(a) + 1 - sigma(a - b),  a, b = beta log pi/pi_ref of chosen and rejected

1 where the model is the reference. Source: D'Oosterlinck et al., "Anchored Preference Optimization and Contrastive Revisions", TACL
2025, arXiv 2408.06266, equation 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `apo_down`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)


@objectives.register("apo_down")
class ApoDown(PairObjective):
    """Anchored preference optimization, both down."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        chosen, rejected = self.rewards(values)
        return chosen.sigmoid() + 1 - (chosen - rejected).sigmoid()
