"""The learning curve A(x) = c - a x^-b (power law towards an asymptote), and what it says is left to gain.

Source: Vilares Ferro, Darriba Bilbao and Vilares Ferro, "Modeling of learning curves with applications to POS tagging"
(arXiv 2402.02515): fit the accuracy pattern by bounded least squares, stop when the distance to the fitted asymptote is under
a threshold. Their convergence layers and the anchor at infinity are not used: with the few points that rounds give, a sequence
of asymptotes says nothing yet, so here `patience` fits in a row must agree instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.spec import Stop

STARTS = (0.25, 0.5, 1.0, 2.0, 4.0)  # exponents from which the fit starts; the best end counts
EXPONENTS = (0.05, 8.0)
CLEAR = 2.0  # standard errors that make a rise a rise


@dataclass(frozen=True)
class Point:
    """A measured value: `x` rounds or rows trained, `y` the metric, over `n` prompts."""

    x: float
    y: float
    n: float

    @property
    def variance(self) -> float | None:
        """Of a share of n; None for a value that is none. One success and one failure are added, so 0 and 1 have one too."""
        if not 0 <= self.y <= 1 or self.n <= 0:
            return None
        share = (self.n * self.y + 1) / (self.n + 2)
        return share * (1 - share) / self.n


@dataclass(frozen=True)
class Curve:
    """A(x) = c - a x^-b with a >= 0 and b > 0: it rises towards the asymptote c."""

    a: float
    b: float
    c: float

    def at(self, x: float) -> float:
        """The fitted value at x > 0."""
        return self.c - self.gap(x)

    def gap(self, x: float) -> float:
        """What is left to the asymptote at x."""
        return self.a * x**-self.b


@dataclass(frozen=True)
class Look:
    """What the points so far say. `small`: the curve can be told and its gap is at most tau; `why` in words."""

    small: bool
    why: str
    curve: Curve | None = None
    gain: float | None = None
    per_round: float | None = None


def unfit(points: Sequence[Point]) -> str | None:
    """Why no curve can be told from the points; None where one can.

    They are cut into thirds along x. The gains from third to third must both be positive, that is, have a positive ratio and
    no fall; after a first gain that is clear beyond noise, a second one within noise of zero is a plateau and passes as well.
    """
    if len({point.x for point in points}) < 3:
        return "fewer than three different x"
    ordered = sorted(points, key=lambda point: point.x)
    size, more = divmod(len(ordered), 3)
    ends = [size, 2 * size + (more == 2), len(ordered)]
    thirds = [ordered[start:end] for start, end in zip([0, *ends[:2]], ends, strict=True)]
    means = [math.fsum(point.y for point in third) / len(third) for third in thirds]
    first, second = means[1] - means[0], means[2] - means[1]
    if first > 0 and second > 0:
        return None
    noise = [_noise(thirds[i], thirds[i + 1]) for i in (0, 1)]
    if noise[0] is not None and noise[1] is not None and first > CLEAR * noise[0] and second >= -CLEAR * noise[1]:
        return None
    return f"gains of {first:+.3g} and then {second:+.3g} are no curve that rises ever more slowly"


def _noise(*groups: Sequence[Point]) -> float | None:
    """Standard error of the difference of two means; None where a point has no variance."""
    total = 0.0
    for group in groups:
        variances = [point.variance for point in group]
        if any(one is None for one in variances):
            return None
        total += math.fsum(one for one in variances if one is not None) / len(group) ** 2
    return math.sqrt(total)


def weights(points: Sequence[Point], how: str) -> list[float]:
    """The points' weights in the fit: n p (1 - p) (`binomial`), n / (p (1 - p)) (`variance`), or all 1 (`equal`).

    Values outside 0 to 1 are no shares: if one is, every point weighs its n.
    """
    variances = [point.variance for point in points]
    if how == "equal":
        return [1.0] * len(points)
    if any(one is None for one in variances):
        return [max(point.n, 1.0) for point in points]
    known = [one for one in variances if one is not None]
    if how == "variance":
        return [1 / one for one in known]
    return [point.n**2 * one for point, one in zip(points, known, strict=True)]


def fit(points: Sequence[Point], *, highest: float, how: str = "binomial") -> Curve:
    """The least-squares curve with a >= 0, b in EXPONENTS and c <= `highest`. Points need three different x > 0."""
    import numpy as np
    from scipy.optimize import least_squares

    last = points[-1].x
    x = np.array([point.x / last for point in points])  # with x = 1 at the newest point, a is the gap that is asked for
    y = np.array([point.y for point in points])
    root = np.sqrt(np.array(weights(points, how)))
    root /= root.max()

    def residuals(p: np.ndarray) -> np.ndarray:
        return root * (p[2] - p[0] * x ** -p[1] - y)

    def slopes(p: np.ndarray) -> np.ndarray:
        power = x ** -p[1]
        return root[:, None] * np.stack([-power, p[0] * np.log(x) * power, np.ones_like(x)], axis=1)

    lower, upper = [0.0, EXPONENTS[0], -np.inf], [np.inf, EXPONENTS[1], highest]
    best = None
    for exponent in STARTS:
        system = root[:, None] * np.stack([-(x**-exponent), np.ones_like(x)], axis=1)
        gap, asymptote = np.linalg.lstsq(system, root * y, rcond=None)[0]
        start = np.array([max(gap, 1e-6), exponent, min(asymptote, highest - 1e-9)])
        found = least_squares(residuals, start, slopes, (lower, upper), ftol=1e-14, xtol=1e-14, gtol=1e-14, max_nfev=2000)
        if best is None or found.cost < best.cost * (1 - 1e-9):
            best = found
    assert best is not None
    gap, b, c = (float(value) for value in best.x)
    return Curve(gap * last**b, b, c)


def look(points: Sequence[Point], stop: Stop) -> Look:
    """Whether the points, oldest first, say that at most `stop.tau` is left to gain."""
    if len(points) < stop.min_points:
        return Look(False, f"{len(points)} of {stop.min_points} points")
    why = unfit(points)
    if why is not None:
        return Look(False, why)
    curve = fit(points, highest=stop.max_asymptote, how=stop.weights)
    now = points[-1].x
    gain, step = curve.gap(now), now / len(points)
    small = gain <= stop.tau
    told = f"asymptote {curve.c:.4g}, predicted gain {gain:.4g} {'<=' if small else '>'} tau {stop.tau:g}"
    return Look(small, told, curve, gain, curve.at(now + step) - curve.at(now))


def looks(points: Sequence[Point], stop: Stop) -> list[Look]:
    """The look at all points, then at those before the newest, and so on: until one says no, at most `stop.patience`."""
    found: list[Look] = []
    for end in range(len(points), 0, -1):
        found.append(look(points[:end], stop))
        if not found[-1].small or len(found) == stop.patience:
            break
    return found
