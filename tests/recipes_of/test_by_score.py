"""Recipes on pairs by score: which answers train, against which reference, and the loss that each method has at its start."""

from __future__ import annotations

import math
from functools import cache

import pytest

from ran_recipe import expected, ids, ran

pytestmark = pytest.mark.recipes
BY_SCORE = ["online-dpo", "sppo", "inpo", "rpo", "asft"]
SIDES = (("chosen", 1), ("rejected", -1))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Gives a recipe's two rounds, which run when a test first asks for them."""
    # the answers of a model of four steps are seldom right, but most differ in length
    differ = "combine=math + format - 0.1 * characters"
    return cache(lambda name: ran(tmp_path_factory.mktemp(name), name, differ))


@pytest.mark.parametrize("name", BY_SCORE)
def test_best_against_worst_of_every_prompt_whose_answers_differ(runs, name):
    for round_ in (0, 1):
        answers, pairs = runs(name).answers(round_), runs(name).rows("pairs", round_)
        assert ids(pairs) == expected(answers)
        assert len(answers) == 8 and 0 < len(pairs) <= 8  # the others are ties: no pair
        trained = {row["row_id"] for row in runs(name).rows("trained_rows", round_)}
        assert trained <= {row["row_id"] for row in pairs} and trained
        score = {a["generation_id"]: a["numbers"]["score"] for of in answers.values() for a in of}
        if name != "sppo":  # its margin is one of win rates
            assert all(row["margin"] == pytest.approx(score[row["chosen_id"]] - score[row["rejected_id"]]) for row in pairs)


@pytest.mark.parametrize("name", BY_SCORE)
def test_starts_and_references(runs, name):
    for round_ in (0, 1):
        row, pairs = runs(name).experiment.checkpoint(round_).row, runs(name).rows("pairs", round_)
        assert row["parents"] == [runs(name).policy(round_)]
        assert all((pair["ref_chosen_logps"] is None) == (name == "asft") for pair in pairs)
        for pair in pairs if name == "inpo" else ():
            extra = dict(pair["extra"])
            for side, _ in SIDES:
                mixed = extra[f"{side}_logps_base"] / 3 + 2 * extra[f"{side}_logps_previous"] / 3
                assert pair[f"ref_{side}_logps"] == pytest.approx(mixed, abs=1e-3)


def mean(each):
    return math.fsum(each) / len(each)


def test_the_first_loss_of_online_dpo_is_log_2_and_the_likelihood(runs):
    for round_ in (0, 1):
        assert math.log(2) < runs("online-dpo").logged(round_)[1] < math.log(2) + 6  # ln 160, of the vocabulary, is 5.1


def test_the_first_loss_of_rpo_is_log_2_and_the_scaled_likelihood(runs):
    for round_ in (0, 1):
        each = [-row["ref_chosen_logps"] for row in runs("rpo").first_batch(round_)]  # the reference is the policy
        assert runs("rpo").logged(round_)[1] == pytest.approx(math.log(2) + 0.01 * 0.005 * mean(each), abs=2e-4)


def test_the_first_loss_of_inpo_is_of_the_ratio_to_the_base(runs):
    eta, share = 0.0075, 1 / 3
    # in round 0 base and previous are one model
    assert runs("inpo").logged(0)[1] == pytest.approx((1 / (2 * eta)) ** 2, rel=1e-3)
    gaps = []
    for row in runs("inpo").first_batch(1):
        extra = dict(row["extra"])
        gaps.append(sum(sign * (extra[f"{side}_logps_previous"] - extra[f"{side}_logps_base"]) for side, sign in SIDES))
    assert any(abs(gap) > 0.05 for gap in gaps)
    assert runs("inpo").logged(1)[1] == pytest.approx(mean([(share * gap - 1 / (2 * eta)) ** 2 for gap in gaps]), rel=1e-3)


def test_win_rates_and_the_first_loss_of_sppo(runs):
    found = runs("sppo")
    for round_ in (0, 1):
        pairs = {row["prompt_id"]: row for row in found.rows("pairs", round_)}
        for prompt, of in found.answers(round_).items():
            scores = [a["numbers"]["score"] for a in of]
            wins = {a["generation_id"]: mean([1 / (1 + math.exp(s - a["numbers"]["score"])) for s in scores]) for a in of}
            assert math.fsum(wins.values()) == pytest.approx(len(of) / 2)
            if prompt in pairs:
                row, extra = pairs[prompt], dict(pairs[prompt]["extra"])
                assert extra["win_chosen"] == pytest.approx(wins[row["chosen_id"]])
                assert extra["win_rejected"] == pytest.approx(wins[row["rejected_id"]])
                assert row["margin"] == pytest.approx(extra["win_chosen"] - extra["win_rejected"])
        batch = [dict(row["extra"]) for row in found.first_batch(round_)]
        each = [((one["win_chosen"] - 0.5) ** 2 + (one["win_rejected"] - 0.5) ** 2) / 2 * 1000**2 for one in batch]
        assert found.logged(round_)[1] == pytest.approx(mean(each), rel=1e-3)
