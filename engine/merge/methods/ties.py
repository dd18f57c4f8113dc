"""TIES: differences are trimmed, a sign is elected for each entry, and only those that agree with it are averaged.

    d'_i = the `density` share of d_i of largest magnitude, tensor by tensor
    s    = sign(sum_i w_i d'_i), 0 counts as +           (`sign: count` counts the members' signs instead)
    theta = theta_base + scale * sum_{i: sign(d'_i) = s} w_i d'_i / sum_{i: sign(d'_i) = s} w_i

Source: Yadav et al., "TIES-Merging", NeurIPS 2023, arXiv 2306.01708; `rescale`, `normalize` and `sign` as in mergekit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from engine.merge import Named, deltas, mergers
from engine.parts.part import F

if TYPE_CHECKING:
    from torch import Tensor


class Params(deltas.Params):
    """Settings of `ties`."""

    density: float = F(0.2, "share of each difference's entries that is kept", gt=0, le=1)
    normalize: bool = F(True, "divide by the weights of those that agree; false: their sum")
    sign: Literal["sum", "count"] = F("sum", "the elected sign: of the weighted sum, or of most members")
    rescale: bool = F(False, "a trimmed difference grows to the L1 norm that it had")


@mergers.register("ties")
class Ties(deltas.DeltaMerger):
    """Trim, elect, average those that agree."""

    Params = Params

    def thin(self, delta: Tensor) -> Tensor:
        """The entries of largest magnitude."""
        kept = deltas.largest(delta, self.params.density)
        whole, left = delta.abs().sum(), kept.abs().sum()
        return kept * (whole / left) if self.params.rescale and left else kept

    def merged(self, deltas: Sequence[Tensor], named: Named) -> Tensor:
        """The mean, or sum, of what agrees with the elected sign; 0 where nothing does."""
        import torch

        weights = torch.tensor(named.weights).reshape(-1, *([1] * deltas[0].ndim))
        stacked = torch.stack(list(deltas))
        votes = (weights * stacked).sum(0) if self.params.sign == "sum" else (weights * stacked).sign().sum(0)
        elected = torch.where(votes >= 0, 1.0, -1.0)
        agree = (weights * stacked).sign() == elected
        total = (weights * stacked * agree).sum(0)
        if not self.params.normalize:
            return total
        own = (weights * agree).sum(0)
        return torch.where(own != 0, total / own, 0.0)
