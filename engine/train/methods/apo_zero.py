"""APO-zero: the chosen answer up, the rejected one down, each by itself; for answers that are better than the model's own.

    loss = 1 - sigma(a) + sigma(b),  a, b = beta log pi/pi_ref of chosen and rejected

1 where the model is the reference. Source: D'Oosterlinck et al., "Anchored Preference Optimization and Contrastive Revisions", TACL
2025, arXiv 2408.06266, equation 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `apo_zero`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)


@objectives.register("apo_zero")
class ApoZero(PairObjective):
    """Anchored preference optimization, chosen up and rejected down."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        chosen, rejected = self.rewards(values)
        return 1 - chosen.sigmoid() + rejected.sigmoid()
