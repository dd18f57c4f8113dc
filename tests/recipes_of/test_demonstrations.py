"""SuperHF, PoFT and OpenChat: which rows train under which numbers, and where the policy is asked."""

from __future__ import annotations

import math

import pytest

from engine import specfile
from engine.errors import QueryError
from ran_recipe import ran
from target_lake import lake, select


def test_superhf_takes_the_best_that_is_not_empty(tmp_path):
    small = lake(tmp_path, [[5.0, 4.0, 3.0], [1.0, 0.0, -1.0]])
    plain = select(small, "superhf", min_score=-10.0)
    assert {p: row["generation_id"] for (p, _), row in plain.items()} == {"p1": "p1-0", "p2": "p2-0"}
    assert {p for p, _ in select(small, "superhf", min_score=2.0)} == {"p1"}
    assert sorted(select(small, "superhf", min_score=-10.0, top=2)) == [("p1", 1), ("p1", 2), ("p2", 1), ("p2", 2)]
    small.answers([("p1", "   ", 9.0), ("p1", "abc", 1.0), ("p2", "", 9.0), ("p2", "", 8.0)])
    assert [row["generation_id"] for row in select(small, "superhf").values()] == ["p1-1"]


def test_superhf_without_shaping_is_raft(tmp_path):
    small = lake(tmp_path, [[5.0, 4.0, 5.0], [1.0, 2.0, -1.0], [None, 0.0, 1.0]])
    assert {k: row["generation_id"] for k, row in select(small, "superhf").items()} == {
        k: row["generation_id"] for k, row in select(small, "raft").items()
    }


def test_superhf_shapes_by_the_logarithm_of_the_length(tmp_path):
    small = lake(tmp_path, [[1.0]])
    small.answers([("p1", "x" * 100, 2.0), ("p1", "x" * 10, 1.9)])
    assert select(small, "superhf")["p1", 1]["generation_id"] == "p1-0"
    shaped = select(small, "superhf", length_weight=0.1)["p1", 1]
    assert shaped["generation_id"] == "p1-1" and shaped["reason"] == f"score 1.9, shaped {1.9 - 0.1 * math.log(10):g}"


def test_openchat_stops_where_the_policy_was_not_asked_as_the_expert(tmp_path):
    small = lake(tmp_path, [[1.0, 0.0]])
    with pytest.raises(QueryError, match='prompt p1 was not asked under "GPT4 Correct: "'):
        select(small, "c_rlft", asked="expert")
    rows = select(small, "c_rlft", asked="expert", expert="ask ", other="tell ")
    assert {label: row["messages"][0]["content"] for (_, label), row in rows.items()} == {"expert": "ask p1", "other": "tell p1"}
    with pytest.raises(QueryError, match="asked: expected any or expert, found me"):
        select(small, "c_rlft", asked="me")


@pytest.mark.recipes
def test_superhf_keeps_near_the_base(tmp_path):
    done = ran(tmp_path, "superhf")
    for round_ in (0, 1):
        rows = {row["prompt_id"]: row["generation_id"] for row in done.rows("selected", round_)}
        best = {
            name: max(known, key=lambda one: one["numbers"]["score"])["generation_id"]
            for name, own in done.answers(round_).items()
            if (known := [one for one in own if one["numbers"]["score"] is not None and one["response"].strip()])
        }
        assert rows == best
        assert done.experiment.checkpoint(round_).row["parents"] == [done.policy(round_)]
        kl = done.logged(round_, "kl")
        # in round 0 the policy is the base, in round 1 it has moved away
        assert (abs(kl[1]) < 1e-6) if round_ == 0 else (kl[1] > 1e-5)


@pytest.mark.recipes
def test_poft_begins_beside_its_anchor(tmp_path):
    done = ran(tmp_path, "poft", over={"measure": [{"method": "anchor", "params": {"models": ["policy"]}}]})
    for round_ in (0, 1):
        answers = {one["generation_id"]: one for own in done.answers(round_).values() for one in own}
        for row in done.rows("selected", round_):
            assert dict(row["extra"]) == {"anchor": answers[row["generation_id"]]["numbers"]["anchor"]}
        # the anchor is the policy itself: log 2 at the first step, to the four decimals that the measure keeps of a token's
        assert done.logged(round_)[1] == pytest.approx(math.log(2), abs=2e-2)


@pytest.mark.recipes
def test_openchat_trains_two_classes_and_is_asked_as_the_expert(tmp_path):
    done = ran(tmp_path, "openchat", "select.params.min_score=0.5")
    for round_ in (0, 1):
        prompts = {row["prompt_id"]: row["messages"][-1]["content"] for row in done.rows("prompts", round_, "train")}
        assert all(text.startswith("A: ") for text in prompts.values())
        scores = {one["generation_id"]: one["numbers"]["score"] for own in done.answers(round_).values() for one in own}
        for row in done.rows("selected", round_):
            expert = scores[row["generation_id"]] >= 0.5
            asked = prompts[row["prompt_id"]] if expert else "B" + prompts[row["prompt_id"]][1:]
            assert (row["label"], row["weight"]) == (("expert", 1.0) if expert else ("other", 0.1))
            assert row["messages"][0]["content"] == asked


def test_the_recipes_have_the_numbers_of_the_papers(tmp_path):
    path = tmp_path / "mine.yaml"
    found = {}
    for name in ("superhf", "poft", "openchat"):
        path.write_text(
            f"experiment: mine\nextends: {name}\nmodels: {{policy: some}}\nprompts: {{train: a.jsonl}}\nscore: [{{verifier: exact}}]\n"
        )
        found[name] = specfile.load(path)
    one = found["superhf"].train[0]
    assert (one.reference, one.init, one.learning_rate, one.params["kl_weight"]) == ("base", "previous", 2e-5, 0.35)
    assert (found["superhf"].generate.samples, found["superhf"].generate.top_p) == (16, 0.95)
    assert (found["poft"].train[0].learning_rate, found["poft"].train[0].params) == (1e-6, {"beta": 1.0, "gamma": 0.0})
    assert (found["openchat"].train[0].epochs, found["openchat"].train[0].betas) == (5, (0.9, 0.95))
