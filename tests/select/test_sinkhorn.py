"""Entropic optimal transport: the catalogue's potentials, a slow reference, and what does not converge."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import StepError
from engine.select.sinkhorn import TOLERANCE, calibrated, squared_distances, to_itself, transport

POOL, TARGET = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.0], [2.0]])
COST = squared_distances(POOL, TARGET)


def slow(cost, epsilon, iterations=20_000):
    """Plain Sinkhorn on logarithms, entry by entry."""
    n, m = cost.shape
    f, g = np.zeros(n), np.zeros(m)
    for _ in range(iterations):
        f = -epsilon * np.log(np.exp((g - cost) / epsilon).mean(axis=1))
        g = -epsilon * np.log(np.exp((f[:, None] - cost) / epsilon).mean(axis=0))
    return f


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 1.0, 50.0])
def test_one_target_has_a_closed_form_for_every_epsilon(epsilon):
    found = transport(np.array([[0.0], [1.0], [4.0], [9.0]]), epsilon, 100)
    assert calibrated(found.f) == pytest.approx([-4.666667, -3.333333, 0.666667, 7.333333], abs=1e-6)


def test_two_targets():
    assert COST.tolist() == [[0, 4], [1, 1], [4, 0], [9, 1]]
    found = transport(COST, 1.0, 1000)
    assert found.error < TOLERANCE
    assert calibrated(found.f) == pytest.approx([-1.91703, -0.74963, 0.58370, 2.08297], abs=5e-6)
    own = to_itself(squared_distances(POOL, POOL), 1.0, 1000)
    assert calibrated(found.f - own.f) == pytest.approx([-2.02141, -0.64526, 0.68808, 1.97859], abs=1e-5)


@pytest.mark.parametrize("epsilon", [2.0, 1.0, 0.5])
def test_the_same_two_rows_for_every_epsilon(epsilon):
    assert set(np.argsort(calibrated(transport(COST, epsilon, 10_000).f))[:2]) == {0, 1}


def test_random_problems_meet_the_slow_reference_and_the_marginals():
    rng = np.random.default_rng(0)
    for n, m, epsilon in [(7, 5, 0.5), (40, 3, 0.1), (3, 30, 1.0)]:
        cost = squared_distances(rng.normal(size=(n, 4)), rng.normal(size=(m, 4)) + 1)
        found = transport(cost, epsilon, 100_000)
        assert calibrated(found.f) == pytest.approx(calibrated(slow(cost, epsilon)), abs=1e-6)
        plan = np.exp((found.f[:, None] + found.g - cost) / epsilon) / (n * m)
        assert plan.sum(axis=1) == pytest.approx(np.full(n, 1 / n), rel=1e-9)
        assert np.abs(plan.sum(axis=0) - 1 / m).sum() == pytest.approx(found.error, abs=1e-12) and found.error < TOLERANCE


def test_costs_far_beyond_the_range_of_exp():
    """A target 10,000 epsilons from every row: its column of the first plan is 0 in float64."""
    cost = np.array([[0.0, 1000.0], [1.0, 1001.0], [2.0, 1003.0]])
    assert calibrated(transport(cost, 0.1, 10_000).f) == pytest.approx(calibrated(transport(cost - [0, 1000], 0.1, 10_000).f), abs=1e-7)


def test_invariances():
    f = transport(COST, 1.0, 1000).f
    gradient = calibrated(f)
    assert abs(gradient.sum()) < 1e-12 and calibrated(f + 123.0) == pytest.approx(gradient, abs=1e-12)
    assert gradient == pytest.approx([f[i] - np.delete(f, i).mean() for i in range(4)], abs=1e-12)
    assert calibrated(np.array([7.0])).tolist() == [0.0]


def test_too_few_iterations_are_an_error_that_says_what_to_do():
    with pytest.raises(StepError, match=r"marginal error .* after 50 iterations with epsilon 0\.05, needed is 1e-09") as caught:
        transport(COST, 0.05, 50)
    assert "raise epsilon (the median cost is 1" in caught.value.hint
    with pytest.raises(StepError, match="after 1 iterations"):
        to_itself(squared_distances(POOL, POOL), 1.0, 1)
