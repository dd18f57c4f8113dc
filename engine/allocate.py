"""Budgets shared out over groups as whole numbers: by largest remainder, by weight under caps, and by water-filling.

Groups stand in the order of their ids, which breaks ties. Weights are taken as the exact numbers that the doubles are, so equal
weights tie, and neither the number of groups nor their order moves a count by a rounding error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from engine.errors import StepError


def largest_remainder(weights: Sequence[float], total: int) -> list[int]:
    """`total` in whole numbers proportional to `weights` (any scale, none negative): floors, then one more to each of the largest
    remainders, of equal ones to the earlier group. A weight of 0 gets 0. StepError where all are 0 and `total` is not."""
    exact = _exact(weights)
    return _rounded(_shares(exact, _whole(total)), total)


def allocate(weights: Sequence[float], caps: Sequence[int], budget: int) -> list[int]:
    """`budget` in whole numbers proportional to `weights`, none above its cap; what caps turn away is offered to the others again,
    until all is spent or every group of positive weight is full (then the sum is smaller than `budget`).

    The fixed point that re-offering converges to: the groups that are full get their caps, the others the rest by largest
    remainder. StepError for weights or caps that are negative or not finite.
    """
    if len(weights) != len(caps):
        raise StepError(f"allocate: {len(weights)} weights for {len(caps)} caps")
    exact, limits = _exact(weights), [_whole(cap) for cap in caps]
    counts = [0] * len(limits)
    left, active = _whole(budget), [i for i, weight in enumerate(exact) if weight and limits[i]]
    while active and left:
        shares = _shares([exact[i] for i in active], left)
        full = {i for i, share in zip(active, shares, strict=True) if share >= limits[i]}
        if not full:
            # a share below a whole cap is not above it when rounded up
            for i, count in zip(active, _rounded(shares, left), strict=True):
                counts[i] = count
            break
        for i in full:
            counts[i] = limits[i]
            left -= limits[i]
        active = [i for i in active if i not in full]
    return counts


def water_fill(sizes: Sequence[int], budget: int) -> list[int]:
    """Equal counts for all groups, but no group more than its size: from the smallest group up, each gets the floor of an equal
    share of what is left, or all it has. What cannot be spent is left (the sum is smaller than `budget`); the remainder of a
    division goes to the largest groups, of equal ones to the later."""
    limits = [_whole(size) for size in sizes]
    left, counts = _whole(budget), [0] * len(limits)
    order = sorted(range(len(limits)), key=lambda i: (limits[i], i))
    for done, i in enumerate(order):
        counts[i] = min(limits[i], left // (len(order) - done))
        left -= counts[i]
    return counts


def _whole(number: int) -> int:
    found = int(number)
    if found != number or found < 0:
        raise StepError(f"allocate: expected a whole number, 0 or more, found {number!r}")
    return found


def _exact(weights: Sequence[float]) -> list[Fraction]:
    for i, weight in enumerate(weights):
        if not math.isfinite(weight) or weight < 0:
            raise StepError(f"allocate: expected finite weights, 0 or more, found {float(weight)!r} of group {i}")
    return [Fraction(float(weight)) for weight in weights]


def _shares(weights: Sequence[Fraction], total: int) -> list[Fraction]:
    scale = sum(weights, Fraction(0))
    if not scale and total:
        raise StepError(f"allocate: {total} to share out, and no group of {len(weights)} has a weight above 0")
    return [weight * total / scale if scale else Fraction(0) for weight in weights]


def _rounded(shares: Sequence[Fraction], total: int) -> list[int]:
    counts = [math.floor(share) for share in shares]
    order = sorted(range(len(counts)), key=lambda i: (counts[i] - shares[i], i))
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    return counts
