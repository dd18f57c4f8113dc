"""Recipes whose reward is the model's own: sharpening, by fine-tuning and by regression, and self-rewarding."""

from __future__ import annotations

import math

import pytest

from ran_recipe import expected, ids, ran

pytestmark = pytest.mark.recipes


@pytest.fixture(scope="module")
def sharpening(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("sharpening"), "sharpening")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("sharpening-pairs"), "sharpening-pairs")


@pytest.fixture(scope="module")
def rewarding(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("self-rewarding"), "self-rewarding")


def test_sharpening_trains_on_the_most_probable_answer_of_the_base(sharpening):
    base = sharpening.experiment.checkpoint(-1).digest
    for round_ in (0, 1):
        answers = sharpening.answers(round_)
        assert {(a["actor"], a["model"]) for of in answers.values() for a in of} == {("base", base)}  # also of round 1
        best = {max(of, key=lambda a: a["numbers"]["own"])["generation_id"] for of in answers.values()}
        assert {row["generation_id"] for row in sharpening.rows("selected", round_)} == best and len(best) == 8


def test_sharpening_by_pairs_regresses_on_the_bases_own_log_probabilities(pairs):
    base = pairs.experiment.checkpoint(-1).digest
    for round_ in (0, 1):
        rows, answers = pairs.rows("pairs", round_), pairs.answers(round_)
        assert {a["model"] for of in answers.values() for a in of} == {base}
        assert ids(rows) == expected(answers, "own") and rows  # of two answers, the more probable one is chosen
        for row in rows:
            extra = dict(row["extra"])
            assert extra["chosen_logps_base"] == row["ref_chosen_logps"] and extra["rejected_logps_base"] == row["ref_rejected_logps"]
            assert extra["chosen_logps_base"] - extra["rejected_logps_base"] == pytest.approx(row["margin"], abs=0.05)


def test_its_first_loss_is_the_square_of_the_rewards_difference(pairs):
    batch = pairs.first_batch(0)
    each = [(row["ref_chosen_logps"] - row["ref_rejected_logps"]) ** 2 for row in batch]
    assert pairs.logged(0)[1] == pytest.approx(math.fsum(each) / len(each), rel=0.02)


def test_self_rewarding_pairs_by_its_own_grades(rewarding):
    for round_ in (0, 1):
        answers, rows = rewarding.answers(round_), rewarding.rows("pairs", round_)
        grades = [a["numbers"]["self_reward"] for of in answers.values() for a in of]
        assert all(0 <= grade <= 1 for grade in grades) and len(set(grades)) > 1
        assert ids(rows) == expected(answers, "self_reward") and rows
        assert rewarding.logged(round_)[1] == pytest.approx(math.log(2), abs=1e-3)
        assert rewarding.experiment.checkpoint(round_).row["parents"] == [rewarding.policy(round_)]
