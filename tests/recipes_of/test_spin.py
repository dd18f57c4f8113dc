"""SPIN: gold against generated, the opponent of each round, the pairs of the round before, and the schedule of rates and beta."""

from __future__ import annotations

import math

import pytest

from engine import specfile
from ran_recipe import ran

pytestmark = pytest.mark.recipes


@pytest.fixture(scope="module")
def spin(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("spin"), "spin")


def test_every_prompt_trains_its_gold_answer_against_one_of_the_policys(spin):
    for round_ in (0, 1):
        own = {row["prompt_id"]: row for row in spin.rows("pairs", round_) if row["source_round"] == round_}
        answers, prompts = spin.answers(round_), {row["prompt_id"]: row for row in spin.rows("prompts", round_, "train")}
        assert set(own) == set(answers) == set(prompts) and all(len(found) == 1 for found in answers.values())
        for prompt, row in own.items():
            assert [m["content"] for m in row["chosen"]] == [prompts[prompt]["reference"]] and row["chosen_id"] is None
            assert row["rejected_id"] == answers[prompt][0]["generation_id"]
            assert [m["content"] for m in row["rejected"]] == [answers[prompt][0]["response"]]
            assert row["origin"] == "gold" and [m["origin"] for m in row["chosen"]] == ["gold"]


def test_later_rounds_train_on_those_of_the_round_before_too(spin):
    first, second = spin.rows("pairs", 0), spin.rows("pairs", 1)
    assert {row["source_round"] for row in first} == {0}
    carried = {row["row_id"]: row for row in second if row["source_round"] == 0}
    assert set(carried) == {row["row_id"] for row in first} and len(second) == 2 * len(first) == 16
    # the opponent is another model now, and it says something else of the same answers
    assert all(carried[row["row_id"]]["ref_chosen_logps"] != row["ref_chosen_logps"] for row in first)


def test_the_opponent_is_the_policy_that_the_round_starts_with(spin):
    for round_ in (0, 1):
        assert spin.experiment.checkpoint(round_).row["parents"] == [spin.policy(round_)]
        assert spin.logged(round_)[1] == pytest.approx(math.log(2), abs=1e-3)
        assert abs(spin.logged(round_)[2] - math.log(2)) > 2e-3
    assert spin.policy(1) == spin.experiment.checkpoint(0).digest != spin.policy(0)


def test_rates_and_beta_of_the_four_rounds(tmp_path, spin):
    path = tmp_path / "mine.yaml"
    text = "experiment: mine\nextends: spin\nmodels: {policy: some}\nprompts: {train: a.jsonl, fields: {template: x, reference: r}}\n"
    path.write_text(text)
    rounds = [specfile.at(specfile.load(path), round_).train[0] for round_ in range(4)]
    assert [(one.learning_rate, one.params["beta"]) for one in rounds] == [(5e-7, 0.1), (5e-7, 0.1), (1e-7, 0.1), (1e-7, 5.0)]
    assert {(one.data, one.optimizer, one.batch_size, one.reference) for one in rounds} == {("last-1", "rmsprop", 64, "previous")}
    path.write_text(text + "stages: []\ntrain: [{objective: dpo, init: previous, reference: previous, data: last-1, learning_rate: 0.1}]\n")
    assert {specfile.at(specfile.load(path), round_).train[0].learning_rate for round_ in range(4)} == {0.1}
