"""Entropy, cluster budgets and stratified bins: the catalogue's numbers, invariants, a slow reference."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest

from engine.select.coreset import distance_budgets, entropy, equal_budgets, spread_budgets, stratified


def bits(*values, **params):
    return entropy(np.array(values, dtype=float), **params)


def test_entropy_of_the_catalogue():
    assert bits(0, 1, 2, 3) == pytest.approx(2.0, abs=1e-12)
    assert bits(1, 1, 1, 1.5) == pytest.approx(0.811, abs=5e-4)
    assert bits(1, 1, 1, 1.5, repo_compat=True) == 0.0  # its edges are 4 standard deviations of the raw scores
    assert bits(2, 2, 2) == 0.0 and bits(0.1, 0.1, 0.1, 0.1, 0.1, 0.1) == 0.0  # constant, also where the mean rounds
    assert bits(5) == 0.0


def test_entropy_does_not_change_with_scale_or_order():
    lot = random.Random(2)
    values = [lot.gauss(0, 1) for _ in range(500)]
    whole = entropy(np.array(values))
    assert entropy(np.array(values) * 1e-3 + 7) == pytest.approx(whole, abs=0.05)  # a row may cross an edge by rounding
    lot.shuffle(values)
    assert entropy(np.array(values)) == whole
    assert 4.0 < whole < math.log2(50)


def test_what_lies_far_out_counts():
    values = [0.0] * 99 + [1000.0]  # ten standard deviations
    assert bits(*values) == pytest.approx(-(0.99 * math.log2(0.99) + 0.01 * math.log2(0.01)))


def test_equal_budgets():
    assert equal_budgets([3, 10, 50, 100], 60) == [3, 10, 23, 24]
    assert equal_budgets([2, 9, 9], 13) == [2, 5, 6]
    assert equal_budgets([5, 5, 5], 20) == [5, 5, 5]
    assert equal_budgets([9, 9, 9], 10) == [3, 3, 4]
    assert equal_budgets([9, 9, 9], 10, ceil=True) == [4, 4, 4]  # two rows over the budget
    assert equal_budgets([3, 10, 50, 100], 60, ceil=True) == [3, 10, 23, 24]


def test_budgets_by_spread():
    groups = [np.array([0.0, 2.0] * 20), np.array([0.0, 6.0] * 20), np.array([5.0] * 40)]
    assert spread_budgets(groups, 20) == [5, 15, 0]  # standard deviations 1, 3, 0
    assert spread_budgets(groups, 60) == [20, 40, 0]  # a cluster gives no more than it has
    assert spread_budgets(groups, 100) == [40, 40, 20]  # constant scores give what the others cannot
    assert spread_budgets([np.array([1.0] * 4), np.array([2.0] * 4)], 5) == [2, 3]


def test_budgets_by_distance():
    near = [np.array([[x, 0.0], [-x, 0.0]] * 20) + center for x, center in ((1.0, [0, 0]), (3.0, [0, 4]))]
    assert distance_budgets(near, 20) == [5, 15]  # own distances 1 and 3, the centroids are equally far from each other
    assert distance_budgets(near[:1], 7) == [7]
    lonely = [np.array([[1.0, c], [-1.0, c]] * 20) for c in (0.0, 1.0, 5.0)]
    assert distance_budgets(lonely, 30) == [9, 8, 13]  # mean distances between centroids 3, 2.5, 4.5


def test_stratified_bins_of_the_catalogue():
    scores = np.arange(1000.0)
    picked = stratified(scores, np.zeros(1000), 100)
    assert len(set(picked)) == 100 and min(picked) >= 50 and max(picked) < 950
    assert set(Counter(int((949 - i) / 899 * 50) if i > 50 else 49 for i in picked).values()) == {2}
    assert picked[0] > 900 > 100 > picked[-1]  # from high to low


def test_short_bins_give_all_and_the_rest_is_spread():
    scores = np.array([0.0] * 40 + [10.0] * 2 + [5.0] * 8)
    picked = stratified(scores, np.arange(50.0), 20, bins=10, trim=0.0)
    assert Counter(scores[picked]) == {10.0: 2, 5.0: 8, 0.0: 10}
    assert sorted(stratified(scores, np.arange(50.0), 50)) == list(range(50))  # tails come back where the budget needs them
    assert len(stratified(scores, np.arange(50.0), 48)) == 48
    assert len(stratified(np.ones(9), np.arange(9.0), 4)) == 4  # one bin
    # the low bin is short: what it cannot give is taken from the others in a second pass
    low = np.array([0.0, *([10.0] * 9)])
    assert sorted(stratified(low, np.arange(10.0), 8, bins=2, trim=0.0)) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_every_budget_is_met_with_rows_that_stand_once():
    lot = random.Random(7)
    for _ in range(60):
        n = lot.randrange(1, 80)
        scores = np.array([lot.choice([lot.gauss(0, 1), 0.0]) for _ in range(n)])
        budget = lot.randrange(n + 5)
        picked = stratified(scores, np.array([lot.random() for _ in range(n)]), budget, bins=lot.randrange(1, 60))
        assert len(picked) == len(set(picked)) == min(budget, n)
