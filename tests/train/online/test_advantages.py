import math

import pytest

from engine.train.online.advantages import left_one_out, same, standardised

SHAPED = [0.731059, 0.268941, -0.182426, -0.622459]  # sigmoid(0.5 r) + v - 1 of (2, 1), (-2, 1), (3, 0), (-1, 0)


@pytest.mark.parametrize(
    ("rewards", "std", "expected"),
    [
        ([1, 0, 0, 1], "population", [1, -1, -1, 1]),
        ([1, 0, 0, 1], "sample", [math.sqrt(3) / 2, -math.sqrt(3) / 2, -math.sqrt(3) / 2, math.sqrt(3) / 2]),
        ([1, 0, 0, 1], "none", [0.5, -0.5, -0.5, 0.5]),
        ([1, 0, 0, 0], "population", [1.7320508, -0.5773503, -0.5773503, -0.5773503]),
        ([1, 0, 0, 0], "sample", [1.5, -0.5, -0.5, -0.5]),
        (SHAPED, "population", [1.352446, 0.436416, -0.458304, -1.330559]),
    ],
)
def test_standardised(rewards, std, expected):
    assert standardised(rewards, std) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("std", ["population", "sample", "none"])
@pytest.mark.parametrize("rewards", [[1.0] * 4, [0.1] * 3, [0.3, None, 0.3], [None, None], [2.0, None], [0.7]])
def test_equal_rewards_give_exact_zeros(rewards, std):
    assert standardised(rewards, std) == [0.0] * len(rewards) == left_one_out(rewards)
    assert same(rewards)


def test_rounding_of_equal_rewards_is_no_advantage():
    assert max(map(abs, standardised([0.1 + 0.2, 0.3], "population"))) < 1e-6


def test_left_one_out():
    assert left_one_out([1, 0, 0, 1]) == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])
    assert left_one_out([3, 1]) == [2, -2]
    assert math.fsum(left_one_out([0.3, -1.0, 2.5, 0.4])) == pytest.approx(0)


def test_an_answer_without_a_reward_stays_out_of_the_means():
    for advantages in (lambda r: standardised(r, "sample"), left_one_out):
        found = advantages([1.0, None, 0.0, 0.5])
        assert found[1] == 0.0
        assert [found[0], *found[2:]] == advantages([1.0, 0.0, 0.5])
