"""Spherical interpolation of two models: along the arc between their directions.

    theta = sin((1-t) omega) / sin(omega) theta_0 + sin(t omega) / sin(omega) theta_1,  cos(omega) = <theta_0, theta_1> / |.| |.|

over a whole tensor; where the directions are almost equal, or opposite, along the line. Source: Shoemake, "Animating rotation with
quaternion curves", SIGGRAPH 1985; threshold as in mergekit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from engine.merge import Merger, Named, mergers
from engine.parts.part import F, Part

if TYPE_CHECKING:
    from torch import Tensor

ALMOST = 0.9995  # cosine above which the arc is taken for a line


class Params(Part):
    """Settings of `slerp`."""

    t: float = F(0.5, "where on the arc: 0 is the first model, 1 the second", ge=0, le=1)


@mergers.register("slerp")
class Slerp(Merger):
    """One point on the arc from the first model to the second."""

    Params = Params
    members: ClassVar[tuple[int, int | None]] = (2, 2)
    weighted: ClassVar[bool] = False

    def tensor(self, named: Named) -> Tensor:
        """See the file's formula; cosine and angle in float64."""
        import math

        one, two = named.members
        t, lengths = self.params.t, (one.double().norm().item(), two.double().norm().item())
        cosine = (one.double() * two.double()).sum().item() / (lengths[0] * lengths[1]) if all(lengths) else 1.0
        if abs(cosine) > ALMOST:
            return one + t * (two - one)
        omega = math.acos(cosine)
        return (math.sin((1 - t) * omega) * one + math.sin(t * omega) * two) / math.sin(omega)
