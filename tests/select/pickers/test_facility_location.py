"""Picker `facility_location`: the catalogue's orders, a brute-force reference, stochastic greedy."""

from __future__ import annotations

import math
import random

import numpy as np
import pyarrow as pa
import pytest

from engine.errors import SpecError, StepError
from engine.select.coverage import Covered
from engine.select.ties import STEP
from engine.select.vectors import Units
from greedy_tables import candidates, pick

FOUR, QUALITY = [(1, 0), (0.8, 0.6), (0, 1), (-0.6, 0.8)], [0.9, 0.2, 0.5, 0.4]
APART, FALLING = [(1, 0), (0.96, 0.28), (0, 1), (-1, 0)], [0.9, 0.5, 0.2, 0.1]


@pytest.mark.parametrize(("vectors", "score", "alpha", "quality", "order"), [
    (FOUR, QUALITY, 0.5, "own", [2, 0, 3]),
    (FOUR, QUALITY, 0.9, "own", [0, 2, 3]),
    (APART, FALLING, 0.5, "own", [0, 2, 3]),
    (APART, FALLING, 0.5, "mean", [0, 2, 3]),
    (APART, FALLING, 0.9, "own", [0, 1, 2]),
    (APART, FALLING, 0.9, "mean", [0, 2, 1]),
])  # fmt: skip
def test_orders(vectors, score, alpha, quality, order):
    rows = candidates(vectors, score=score)
    assert pick("facility_location", rows, budget=3, alpha=alpha, normalize="sum", quality=quality)[0] == order


def test_a_sum_drowns_quality_and_a_mean_does_not():
    rng = np.random.default_rng(0)
    vectors = [*rng.normal(size=(60, 4)) * 0.3 + [1, 0, 0, 0], [0, 0, 0, 1]]
    rows = candidates(vectors, score=[0.0] * 60 + [1.0])
    assert pick("facility_location", rows, budget=1, alpha=0.8, normalize="sum")[0] != [60]
    assert pick("facility_location", rows, budget=1, alpha=0.8, normalize="mean")[0] == [60]


def test_coverage_starts_at_minus_one():
    # from 0 the second row, which is near to nobody, would not be worth more than nothing
    picked, detail = pick("facility_location", candidates([(1, 0), (-1, 0)], score=[0, 0]), budget=2, alpha=0.0, normalize="sum")
    assert picked == [0, 1] and detail == [{"coverage": 2.0}, {"coverage": 2.0}]


def objective(cosine, quality, chosen, alpha, scale, rule):
    """(1 - alpha) d(A) + alpha q(A) from its definition; the empty set covers each row with -1."""
    d = math.fsum(max([cosine[v][a] for a in chosen], default=-1.0) for v in range(len(cosine))) / scale
    q = math.fsum(quality[a] for a in chosen) / (max(1, len(chosen)) if rule == "mean" else 1)
    return (1 - alpha) * d + alpha * q


def brute(vectors, quality, budget, alpha, normalize, rule):
    """The objective of every set with one row more, for every pick; ties after 9 digits to the smaller row."""

    def unit(v):
        length = math.sqrt(math.fsum(x * x for x in v)) or 1.0
        return [x / length for x in v]

    units = [unit(v) for v in vectors]
    cosine = [[round(math.fsum(x * y for x, y in zip(a, b, strict=True)) / STEP) * STEP for b in units] for a in units]
    scale, picked = len(vectors) if normalize == "mean" else 1.0, []
    while len(picked) < min(budget, len(vectors)):
        left = [i for i in range(len(vectors)) if i not in picked]
        value = {i: round(objective(cosine, quality, [*picked, i], alpha, scale, rule), 9) for i in left}
        picked.append(max(left, key=lambda i: (value[i], -i)))
    return picked


@pytest.mark.parametrize("seed", range(16))
def test_picks_are_those_of_evaluating_every_set(seed):
    lot = random.Random(seed)
    vectors = [[lot.gauss(0, 1) for _ in range(3)] for _ in range(25)]
    vectors += [list(lot.choice(vectors)) for _ in range(10)] + [[0.0, 0.0, 0.0]]
    quality = [lot.choice([0.0, 0.5, 0.5, lot.uniform(-1, 1)]) for _ in vectors]
    alpha, normalize, rule = lot.choice([0.0, 0.5, 0.9]), lot.choice(["sum", "mean"]), lot.choice(["own", "mean"])
    expected = brute(vectors, quality, 20, alpha, normalize, rule)
    rows = candidates(vectors, score=quality)
    assert pick("facility_location", rows, budget=20, alpha=alpha, normalize=normalize, quality=rule)[0] == expected


def test_bounds_are_never_below_gains():
    rng = np.random.default_rng(3)
    covered = Covered(Units(rng.normal(size=(300, 8)).astype(np.float32)))
    everyone = np.ones(300, dtype=bool)
    for turn in range(6):
        bounds = covered.bounds.copy()
        row = covered.best(everyone, 1.0, np.zeros(300))
        covered._look(np.arange(300))
        assert (covered.bounds <= bounds).all() and covered.bounds.max() == covered.bounds[row]
        assert covered.add(row) > 0 or turn


def test_equal_vectors_fall_to_the_smaller_item_however_they_are_computed():
    rng = np.random.default_rng(4)
    base = rng.normal(size=(40, 16)).astype(np.float32)
    rows = candidates(np.concatenate([base, base, base]), pa.float32(), score=[1.0] * 120)
    picked = pick("facility_location", rows, budget=120, alpha=0.0, normalize="mean")[0]
    assert sorted(picked[:40]) == list(range(40))  # then nothing is left to cover, and the others go by id
    assert picked[40:] == list(range(40, 120))


def test_stochastic_greedy_draws_by_row_and_comes_near():
    rng = np.random.default_rng(5)
    rows = candidates(rng.normal(size=(300, 4)), score=[0.0] * 300)
    how = {"budget": 20, "alpha": 0.0, "normalize": "mean"}

    def total(detail):
        return math.fsum(one["coverage"] for one in detail if one)

    whole, drawn = (pick("facility_location", rows, **how, **more) for more in ({}, {"sample": 0.05}))
    again, other = (pick("facility_location", rows, seed=seed, sample=0.05, **how)[0] for seed in (1, 2))
    assert again == drawn[0] != other and drawn[0] != whole[0]
    assert total(whole[1]) >= total(drawn[1]) >= 0.97 * total(whole[1])
    few = candidates(rng.normal(size=(5, 4)), score=[0.0] * 5)
    assert sorted(pick("facility_location", few, budget=5, alpha=0.0, normalize="mean", sample=0.5)[0]) == list(range(5))


def test_settings_without_a_good_default_must_be_given():
    with pytest.raises(SpecError, match="normalize: the picker 'facility_location' needs this setting"):
        pick("facility_location", candidates(FOUR, score=QUALITY), budget=1, alpha=0.5)
    with pytest.raises(StepError, match="column score"):
        pick("facility_location", candidates(FOUR, score=[1.0, math.inf, 0, 0]), budget=1, alpha=0.5, normalize="sum")
