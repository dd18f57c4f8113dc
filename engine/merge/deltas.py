"""What methods share that merge differences from a base: how a difference is thinned out, and how several are added.

Names: d_i = theta_i - theta_base, one tensor at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.merge import Merger, Named
from engine.parts.part import F, Part

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 1e-9  # what a product of a share and a count may lie below a whole number, and still be meant as one


class Params(Part):
    """Settings of every method of differences."""

    scale: float = F(1.0, "factor of the merged difference (lambda)")
    normalize: bool = F(False, "divide by the sum of the weights")
    drop: float = F(
        0.0, "DARE: share of a difference's entries, by lot, that are dropped first; the others grow by 1 / (1 - drop)", ge=0, lt=1
    )
    vectors: bool = F(False, "also drop and thin out norms and biases, not matrices alone")


class DeltaMerger(Merger):
    """Adds to the base what `merged` makes of the members' differences. `drop` comes before everything else (DARE)."""

    base: ClassVar[Literal["needed", "unused"]] = "needed"
    Params = Params

    def thin(self, delta: Tensor) -> Tensor:
        """A difference without the entries that the method leaves out; called for matrices, for vectors where they are asked for."""
        return delta

    def merged(self, deltas: Sequence[Tensor], named: Named) -> Tensor:
        """One difference of several: their weighted sum."""
        return added(deltas, named.weights, self.params.normalize)

    def tensor(self, named: Named) -> Tensor:
        """base + scale * merged differences."""
        assert named.base is not None
        deltas = [member - named.base for member in named.members]
        if self.params.vectors or not named.vector:
            if self.params.drop:
                deltas = [dropped(delta, self.params.drop, named.draws(i)) for i, delta in enumerate(deltas)]
            deltas = [self.thin(delta) for delta in deltas]
        return named.base + self.params.scale * self.merged(deltas, named)


def added(deltas: Sequence[Tensor], weights: Sequence[float], normalize: bool) -> Tensor:
    """The weighted sum, divided by the sum of the weights where that is asked for."""
    total = deltas[0] * weights[0]
    for delta, weight in zip(deltas[1:], weights[1:], strict=True):
        total = total + weight * delta
    return total / sum(weights) if normalize else total


def dropped(delta: Tensor, share: float, draws: Tensor) -> Tensor:
    """DARE: each entry is dropped with probability `share` and the others are divided by 1 - share, so that the mean stays.

    `draws`: uniform numbers of the same shape. Source: Yu et al., "Language Models are Super Mario", ICML 2024, arXiv 2311.03099.
    """
    return delta * (draws >= share) / (1 - share)


def largest(delta: Tensor, density: float) -> Tensor:
    """The entries of largest magnitude, as many as `density` of all (rounded down, at least one); the others are 0."""
    return between(delta, density, 0.0)


def between(delta: Tensor, density: float, gamma: float, by_row: bool = False) -> Tensor:
    """Without the `gamma` share of largest magnitude, the `density` share that comes next; the others are 0. Shares are of the whole
    tensor, or of each row (last dimension).

    Where the two add up to more than all entries, fewer of the largest are left out. Ties go to the first entry.
    """
    rows = delta.reshape(-1, delta.shape[-1]) if by_row and delta.ndim else delta.reshape(1, -1)
    size = rows.shape[1]
    keep, top = max(1, int(density * size + SMALL)), int(gamma * size + SMALL)
    top = min(top, size - keep)
    order = rows.abs().argsort(dim=1, descending=True, stable=True)
    kept = order[:, top : top + keep]  # counted from the top: [low:-top] would be empty where top is 0
    return rows.new_zeros(rows.shape).scatter(1, kept, rows.gather(1, kept)).reshape(delta.shape)
