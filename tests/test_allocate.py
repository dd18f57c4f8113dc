"""Whole numbers out of budgets: the catalogue's figures, and references that try everything."""

import itertools
import random
from fractions import Fraction

import pytest

from engine.allocate import allocate, largest_remainder, water_fill
from engine.errors import StepError


@pytest.mark.parametrize(
    ("sizes", "budget", "expected"),
    [([3, 10, 50, 100], 60, [3, 10, 23, 24]), ([2, 9, 9], 13, [2, 5, 6]), ([5, 5, 5], 20, [5, 5, 5]), ([100, 3], 7, [4, 3]), ([], 5, [])],
)
def test_water_filling_of_the_catalogue(sizes, budget, expected):
    assert water_fill(sizes, budget) == expected


def unit_by_unit(sizes, budget):
    """One pass after another gives a unit to every group that is not full, the largest first."""
    counts = [0] * len(sizes)
    order = sorted(range(len(sizes)), key=lambda i: (sizes[i], i), reverse=True)
    while budget and any(count < size for count, size in zip(counts, sizes, strict=True)):
        for i in order:
            if budget and counts[i] < sizes[i]:
                counts[i], budget = counts[i] + 1, budget - 1
    return counts


def test_water_filling_is_what_unit_by_unit_gives():
    draw = random.Random(1)
    for _ in range(300):
        sizes = [draw.randrange(12) for _ in range(draw.randrange(1, 7))]
        budget = draw.randrange(60)
        assert water_fill(sizes, budget) == unit_by_unit(sizes, budget), (sizes, budget)


def nearest_whole(shares, total):
    """Of all whole numbers beside the shares with the right sum: the nearest, of equally near ones the one that gives more earlier."""
    choices = itertools.product(*[sorted({int(share), -int(-share // 1)}) for share in shares])
    fitting = [choice for choice in choices if sum(choice) == total]
    return list(min(fitting, key=lambda c: (sum((x - s) ** 2 for x, s in zip(c, shares, strict=True)), [-x for x in c])))


def test_largest_remainder():
    assert largest_remainder([1, 1, 1], 4) == [2, 1, 1]
    assert largest_remainder([0.5, 0.3, 0.2], 7) == [4, 2, 1]  # 3.5, 2.1, 1.4: the largest remainder is .5
    assert largest_remainder([0.1] * 10, 3) == [1] * 3 + [0] * 7
    assert largest_remainder([1e-9, 1e9, 0], 5) == [0, 5, 0]
    assert largest_remainder([0, 0], 0) == [0, 0]
    draw = random.Random(2)
    for _ in range(200):
        weights = [draw.choice([0, 1, 2, 2, 3, 5, 0.1, 7]) for _ in range(draw.randrange(1, 7))] + [1]
        total = draw.randrange(20)
        shares = [Fraction(float(w)) * total / sum(Fraction(float(v)) for v in weights) for w in weights]
        assert largest_remainder(weights, total) == nearest_whole(shares, total), (weights, total)


def full_groups(weights, caps, budget):
    """The one set of groups that are full such that the others stay below their caps: every set is tried."""
    groups = [i for i, weight in enumerate(weights) if weight and caps[i]]
    if sum(caps[i] for i in groups) <= budget:
        return [caps[i] if i in groups else 0 for i in range(len(caps))]
    for size in range(len(groups) + 1):
        for full in itertools.combinations(groups, size):
            rest = [i for i in groups if i not in full]
            left, scale = budget - sum(caps[i] for i in full), sum(Fraction(float(weights[i])) for i in rest)
            if left < 0 or not scale:
                continue
            level = Fraction(left) / scale  # what a unit of weight gets
            fits = all(level * Fraction(float(weights[i])) < caps[i] for i in rest)
            if fits and all(level * Fraction(float(weights[i])) >= caps[i] for i in full):
                counts = [caps[i] if i in full else 0 for i in range(len(caps))]
                rounded = nearest_whole([level * Fraction(float(weights[i])) for i in rest], left)
                for i, count in zip(rest, rounded, strict=True):
                    counts[i] = count
                return counts
    raise AssertionError("no set of full groups fits")


def test_weighted_allocation_with_caps():
    assert allocate([1, 1, 2], [10, 10, 10], 8) == [2, 2, 4]
    assert allocate([1, 1, 2], [1, 10, 10], 9) == [1, 3, 5]  # 8 over weights 1 and 2: 2.67 and 5.33
    assert allocate([1, 0], [3, 9], 10) == [3, 0]  # what has no weight gets nothing, even where something is left
    assert allocate([5, 1], [2, 100], 50) == [2, 48]
    assert allocate([], [], 0) == []
    draw = random.Random(3)
    for _ in range(300):
        n = draw.randrange(1, 6)
        weights = [draw.choice([0, 1, 1, 2, 3, 0.1, 0.7, 12]) for _ in range(n)]
        caps = [draw.randrange(9) for _ in range(n)]
        budget = draw.randrange(25)
        found = allocate(weights, caps, budget)
        assert found == full_groups(weights, caps, budget), (weights, caps, budget)


def test_what_cannot_be_shared_out():
    with pytest.raises(StepError, match="no group of 2 has a weight above 0"):
        largest_remainder([0, 0], 3)
    with pytest.raises(StepError, match=r"found -1\.0 of group 1"):
        allocate([1, -1], [1, 1], 1)
    with pytest.raises(StepError, match="found nan"):
        largest_remainder([float("nan")], 1)
    with pytest.raises(StepError, match="2 weights for 1 caps"):
        allocate([1, 1], [1], 1)
    with pytest.raises(StepError, match="whole number"):
        water_fill([1, 2], -1)
