"""Tulu 3: three rounds, a stage each, and what each of them trains on."""

from __future__ import annotations

import pytest

import loop_home
import recipe_home
from engine import specfile
from ran_recipe import SMALL, TINY, Ran


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tulu3")
    recipe_home.write(folder, "tulu3", {"rounds": 3, "combine": "response_tokens % 3"})
    experiment = loop_home.load(folder, *SMALL, *(f"train.0.{key}={value}" for key, value in TINY.items()))
    experiment.run()
    assert experiment.state().next_round() is None
    return Ran(experiment)


@pytest.mark.recipes
def test_every_stage_goes_on_from_the_one_before(done):
    assert [done.experiment.checkpoint(round_).row["objective"] for round_ in range(3)] == ["sft", "dpo_norm", "grpo"]
    for round_ in range(3):
        assert done.experiment.checkpoint(round_).row["parents"] == [done.policy(round_)]
        assert done.policy(round_) == done.experiment.checkpoint(round_ - 1).digest
    for table, rounds in {"selected": [0], "pairs": [1]}.items():
        found = done.experiment.lake.read(table, experiment="loop", rounds=[0, 1, 2], part="policy")["round"].to_pylist()
        assert sorted(set(found)) == rounds


@pytest.mark.recipes
def test_one_side_of_every_pair_is_the_policys_own(done):
    answers = {one["generation_id"]: one for own in done.answers(1).values() for one in own}
    assert {one["actor"] for one in answers.values()} == {"policy", "base"}
    rows = done.rows("pairs", 1)
    assert rows
    for row in rows:
        chosen, rejected = answers[row["chosen_id"]], answers[row["rejected_id"]]
        best = max(one["numbers"]["score"] for one in done.answers(1)[row["prompt_id"]])
        assert "policy" in (chosen["actor"], rejected["actor"])
        assert chosen["numbers"]["score"] == best > rejected["numbers"]["score"]
    assert done.logged(1)[1] == pytest.approx(0.693147, abs=2e-2)  # references have two decimals, and beta is 5


@pytest.mark.recipes
def test_rewards_are_ten_times_the_score_and_minus_ten_without_an_end(done):
    rows = {row["generation_id"]: row for row in done.rows("generations", 2, "train")}
    scores = {row["item_id"]: row["value"] for row in done.rows("scores", 2, "train/score")}
    known = [10 * scores[name] if row["finish_reason"] == "stop" else -10.0 for name, row in rows.items()]
    trained = {row["row_id"] for row in done.rows("trained_rows", 2)}
    assert trained == set(rows) and len(rows) % 3 == 0
    logged = done.logged(2, "reward")
    mean = sum(logged.values()) / len(logged)
    assert mean == pytest.approx(sum(known) / len(known), abs=1e-6)


def test_the_stages_have_the_numbers_of_the_paper(tmp_path):
    path = tmp_path / "mine.yaml"
    text = "experiment: mine\nextends: tulu3\nmodels: {policy: some}\nprompts: {train: a.jsonl}\nscore: [{verifier: exact}]\nrounds: 4\n"
    path.write_text(text)
    spec = specfile.load(path)
    first, second, third, last = (specfile.at(spec, round_) for round_ in range(4))
    assert (first.train[0].learning_rate, first.train[0].epochs) == (5e-6, 2)
    assert (second.train[0].learning_rate, second.train[0].params) == (5e-7, {"beta": 5.0})
    assert third.train[0].params == {"beta": 0.01, "scale": 10.0, "missing_eos": -10.0}
    assert (third.generate.samples, third.train) == (16, last.train)
