"""The learning curve: its fit against closed forms, what it refuses to judge, and when it says stop."""

import pytest

from engine.promotion.curve import Curve, Point, fit, look, looks, unfit, weights
from engine.spec import Stop

X, Y = [1, 2, 4], [0.7, 0.8, 0.85]  # a power law with b = 1 and c = 0.9


def three(points: list[Point]) -> tuple[float, float]:
    """Asymptote and ratio of successive gains of three points whose x have equal ratios, in closed form."""
    y1, y2, y3 = (point.y for point in points)
    return (y1 * y3 - y2 * y2) / (y1 + y3 - 2 * y2), (y3 - y2) / (y2 - y1)


def points(ys, xs=None, n=1000):
    return [Point(float(x), y, n) for x, y in zip(xs or range(1, len(ys) + 1), ys, strict=True)]


def stop(**more):
    return Stop(**({"min_points": 3, "patience": 1} | more))


def test_the_numbers_of_three_points_with_equal_ratios():
    c, ratio = three(points(Y, X))
    assert (c, ratio) == (pytest.approx(0.9), pytest.approx(0.5))
    for how in ("binomial", "variance", "equal"):
        curve = fit(points(Y, X), highest=1.0, how=how)
        assert (curve.a, curve.b, curve.c) == (pytest.approx(0.2), pytest.approx(1.0), pytest.approx(0.9))
        assert curve.gap(4) == pytest.approx(0.05)


@pytest.mark.parametrize("tau, small", [(0.06, True), (0.04, False)])
def test_it_stops_when_the_predicted_gain_is_at_most_tau(tau, small):
    found = look(points(Y, X), stop(tau=tau))
    assert found.small is small and found.gain == pytest.approx(0.05)
    step = 4 / 3
    assert found.per_round == pytest.approx(0.2 / 4 - 0.2 / (4 + step))
    assert f"predicted gain 0.05 {'<=' if small else '>'} tau {tau}" in found.why


def test_flat_noise_is_refused():
    c, ratio = three(points([0.8, 0.79, 0.8], X))
    assert (c, ratio) == (pytest.approx(0.795), pytest.approx(-1))
    found = look(points([0.8, 0.79, 0.8], X), stop(tau=0.5))
    assert not found.small and found.curve is None and "gains of -0.01 and then +0.01" in found.why


@pytest.mark.parametrize("ys", [[0.8, 0.7, 0.65], [0.5, 0.5, 0.5], [0.6, 0.7, 0.5], [0.5, 0.51, 0.5], [0.7, 0.7, 0.8]])
def test_curves_that_fall_or_never_rise_are_refused(ys):
    assert unfit(points(ys)) is not None
    assert not look(points(ys), stop(tau=1.0)).small


def test_a_plateau_after_a_clear_rise_may_wobble_within_its_noise():
    plateau = [0.3, 0.6, 0.8, 0.85, 0.852, 0.849, 0.85, 0.848, 0.851]
    assert unfit(points(plateau)) is None
    wobble = [0.45, 0.7, 0.82, 0.85, 0.852, 0.851, 0.846, 0.848, 0.846]
    assert unfit(points(wobble)) is None and look(points(wobble), stop(tau=0.02)).small
    assert unfit(points(wobble, n=10_000_000)) is not None, "the same fall with no noise to explain it is forgetting"


def test_more_points_than_unknowns_are_fitted_as_a_peer_does():
    from scipy.optimize import curve_fit

    xs, ys = [1, 2, 3, 4, 5, 6, 8], [0.41, 0.55, 0.60, 0.66, 0.67, 0.70, 0.71]
    found = points(ys, xs, 300)
    for how in ("binomial", "variance", "equal"):
        curve = fit(found, highest=1.0, how=how)
        sigma = [w**-0.5 for w in weights(found, how)]
        law = lambda x, a, b, c: c - a * x**-b  # noqa: E731
        peer, _ = curve_fit(law, xs, ys, p0=(0.4, 1.0, 0.8), sigma=sigma, bounds=([0, 0.05, -10], [10, 8, 1.0]), xtol=1e-14, ftol=1e-14)
        assert (curve.a, curve.b, curve.c) == pytest.approx(tuple(peer), rel=1e-3)


def test_weights_of_shares_and_of_other_numbers():
    assert weights([Point(1, 0.5, 100)], "binomial") == [pytest.approx(25)]
    assert weights([Point(1, 0.5, 100)], "variance") == [pytest.approx(400)]
    assert 0 < weights([Point(1, 1.0, 100)], "binomial")[0] < 1, "a share of 1 still weighs something"
    assert weights([Point(1, 0.5, 100), Point(2, 3.0, 50)], "binomial") == [100, 50]
    assert weights([Point(1, 0.5, 100)], "equal") == [1]


def test_the_asymptote_stays_below_the_largest_value():
    straight = points([0.5, 0.6, 0.7, 0.8])
    assert fit(straight, highest=1.0).c <= 1.0
    assert look(straight, stop(tau=0.1)).gain > 0.1


def test_rows_are_no_other_unit_than_rounds():
    by_round = fit(points(Y, X), highest=1.0)
    by_rows = fit(points(Y, [x * 12_345 for x in X]), highest=1.0)
    assert by_rows.gap(4 * 12_345) == pytest.approx(by_round.gap(4)) and by_rows.b == pytest.approx(by_round.b)
    assert unfit(points(Y, [1000, 1000, 2000])) == "fewer than three different x"


def test_patience_and_the_least_number_of_points():
    law = Curve(0.2, 1.0, 0.9)
    ys = [law.at(x) for x in range(1, 9)]  # gaps 0.2, 0.1, 0.067, 0.05, 0.04, 0.033, 0.029, 0.025
    rule = Stop(tau=0.045, min_points=4, patience=2)
    ends = [len(found) == 2 and all(one.small for one in found) for found in (looks(points(ys[:k]), rule) for k in range(1, 9))]
    assert ends == [False] * 5 + [True] * 3
    assert look(points(ys[:3]), Stop(tau=1.0)).why == "3 of 4 points"
    assert looks([], rule) == []
