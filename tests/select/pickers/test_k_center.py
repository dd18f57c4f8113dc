"""Picker `k_center`: the catalogue's numbers and a brute-force reference."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from engine.errors import StepError
from engine.select.pickers.k_center import centers
from greedy_tables import candidates, pick, picker

LINE = [[0], [1], [4], [10], [11]]


def test_farthest_first():
    picked, detail = pick("k_center", candidates(LINE), budget=3)
    assert picked == [0, 4, 2]
    assert detail == [None, None, {"distance": 4.0}, None, {"distance": 11.0}]


def test_start_at_the_highest_score():
    rows = candidates(LINE, score=[0, 1, 2, 2, 1])
    assert pick("k_center", rows, budget=3, start="score")[0] == [2, 4, 0]
    assert pick("k_center", rows, budget=3)[0] == [0, 4, 2]
    assert picker("k_center", budget=1, start="score").needs == {"vector": "vector", "score": "number"}
    assert picker("k_center", budget=1).needs == {"vector": "vector"}


def test_trim_passes_over_the_farthest():
    points = [[float(i)] for i in range(10)] + [[1000.0]]
    assert pick("k_center", candidates(points), budget=2)[0] == [0, 10]
    assert pick("k_center", candidates(points), budget=3, trim=0.1)[0] == [0, 9, 10]  # of 9 rows left none is passed over
    assert pick("k_center", candidates(points), budget=2, trim=0.2)[0] == [0, 8]


def test_cosine_looks_at_directions():
    points = [[1, 0], [50, 0], [0, 2], [0, 0.1], [-3, 0.3]]
    assert pick("k_center", candidates(points), budget=3, metric="cosine")[0] == [0, 4, 2]
    assert pick("k_center", candidates(points), budget=3)[0] == [0, 1, 4]


def brute(vectors, first, budget, trim):
    """Every distance to every center, for every pick; ties to the smaller row."""
    picked = [first]
    while len(picked) < min(budget, len(vectors)):
        left = [i for i in range(len(vectors)) if i not in picked]
        distance = {i: min(math.fsum((a - b) ** 2 for a, b in zip(vectors[i], vectors[c], strict=True)) for c in picked) for i in left}
        order = sorted(left, key=lambda i: (-round(distance[i], 12), i))
        picked.append(order[math.floor(trim * len(left) + 1e-9)])
    return picked


@pytest.mark.parametrize("width", [pa.float32(), pa.float64()])
@pytest.mark.parametrize("seed", range(10))
def test_picks_are_those_of_computing_every_distance(seed, width):
    lot = random.Random(seed)
    # a grid far from the origin: many ties and equal points, where squares cancel in float32
    vectors = [[1000.0 + lot.randrange(4), lot.randrange(4) / 4.0, float(lot.randrange(2))] for _ in range(40)]
    for trim in (0.0, 0.1):
        assert pick("k_center", candidates(vectors, width), budget=40, trim=trim)[0] == brute(vectors, 0, 40, trim)


def test_within_twice_the_best_radius():
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(8, 5)) * 100
    points = np.concatenate([middles + rng.uniform(-1, 1, size=(8, 5)) for _ in range(20)])
    picked, distances = centers(points, 0, 8)
    assert sorted(row % 8 for row in picked) == list(range(8))
    assert all(later <= earlier for earlier, later in pairwise(distances))


def test_a_broken_vector_is_named():
    with pytest.raises(StepError, match="item i0001 holds NaN"):
        pick("k_center", candidates([[0.0], [math.nan]]), budget=1)
    assert pick("k_center", candidates(LINE), budget=99)[0][:3] == [0, 4, 2]
