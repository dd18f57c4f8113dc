"""CREAM: the policy's own reward, the agreement of two policies as a soft label, and what stands in where there is one policy alone."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

from ran_recipe import expected, ids, ran

pytestmark = pytest.mark.recipes


@pytest.fixture(scope="module")
def cream(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("cream"), "cream")


def ranks(values):
    """Ordinal ranks, ties in the order of the samples."""
    order = sorted(range(len(values)), key=lambda i: (values[i], i))
    return [order.index(i) for i in range(len(values))]


def consistency(of):
    """(tau + 1) / 2 of the two rewards of a prompt's answers."""
    ours, theirs = (ranks([a["numbers"][name] for a in of]) for name in ("reward", "reward_before"))
    both = list(combinations(range(len(of)), 2))
    tau = sum(1 if (ours[i] - ours[j]) * (theirs[i] - theirs[j]) > 0 else -1 for i, j in both) / len(both)
    return (tau + 1) / 2


def test_best_against_worst_by_the_policys_own_reward(cream):
    for round_ in (0, 1):
        pairs = cream.rows("pairs", round_)
        assert ids(pairs) == expected(cream.answers(round_), "reward") and pairs


def test_all_pairs_have_the_mean_agreement_of_the_round(cream):
    for round_ in (0, 1):
        each = [consistency(of) for of in cream.answers(round_).values()]
        mean = math.fsum(each) / len(each)
        assert len(each) == 8
        assert all(row["probability"] == pytest.approx(mean) for row in cream.rows("pairs", round_))
    assert {row["probability"] for row in cream.rows("pairs", 1)} != {1.0}


def test_the_policy_that_is_the_base_ranks_by_mean_log_probability(cream):
    # one model: the rankings are the same, the label is hard and the loss DPO's
    answers = [a["numbers"] for of in cream.answers(0).values() for a in of]
    assert all(one["reward"] == one["reward_before"] < 0 for one in answers)
    assert {row["probability"] for row in cream.rows("pairs", 0)} == {1.0}


def test_the_policy_before_the_second_one_is_the_base(cream):
    answers = [a["numbers"] for of in cream.answers(1).values() for a in of]
    assert all(one["reward_before"] < 0 for one in answers)  # a mean a token
    assert any(one["reward"] != one["reward_before"] for one in answers) and len({one["reward"] for one in answers}) > 1


def test_the_reference_is_the_start_of_the_round(cream):
    for round_ in (0, 1):
        assert cream.experiment.checkpoint(round_).row["parents"] == [cream.policy(round_)]
        assert cream.logged(round_)[1] == pytest.approx(math.log(2), abs=1e-3)  # at z = 0 whatever the label
