"""Model breadcrumbs: of each difference from the base both tails go, the outliers and the small noise, then they are added.

`per: tensor` leaves out the `gamma` share of largest magnitude of a whole tensor and keeps the next `density` share, as mergekit does
(there gamma is 0.01 by default); `per: row` does so in each row (last dimension) as the authors do, in whose example density is 0.2,
gamma 0.1 and scale 0.4. Source: Davari and Belilovsky, "Model Breadcrumbs", ECCV 2024, arXiv 2312.06795.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.merge import deltas, mergers
from engine.parts.part import F

if TYPE_CHECKING:
    from torch import Tensor


class Params(deltas.Params):
    """Settings of `breadcrumbs`."""

    density: float = F(0.9, "share of the entries that is kept", gt=0, le=1)
    gamma: float = F(0.01, "share of the entries of largest magnitude that go", ge=0, lt=1)
    per: Literal["tensor", "row"] = F("tensor", "magnitudes are ranked in a whole tensor, or in each row of it")


@mergers.register("breadcrumbs")
class Breadcrumbs(deltas.DeltaMerger):
    """Leave out both tails and add."""

    Params = Params

    def thin(self, delta: Tensor) -> Tensor:
        """The middle of the magnitudes."""
        return deltas.between(delta, self.params.density, self.params.gamma, by_row=self.params.per == "row")
