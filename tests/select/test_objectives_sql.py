"""The selections of the objectives on demonstrations: poft, c_rlft, kto, sftmix and reward-weighted regression."""

from __future__ import annotations

import json
import math

import pytest

from engine.errors import QueryError
from engine.select.steps import SelectedStep
from small_lake import SmallLake, spec


def run(small, sql, **params):
    one = spec(select={"sql": f"select/{sql}.sql", "params": params})
    output = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, 0))
    rows = output.rows["selected", "policy"].to_pylist()
    return [row | {"extra": dict(row["extra"] or ())} for row in rows]


def measured(small, column, numbers, detail=None):
    rows = [
        {"item_id": item, "item_kind": "generation", "prompt_id": item.split("-")[0], "scorer": column, "value": value,
         "detail": json.dumps(detail[item]) if detail else None}
        for item, value in numbers.items()
    ]  # fmt: skip
    small.put("scores", f"rollout/{column}", rows)


@pytest.fixture
def small(tmp_path):
    lake = SmallLake(tmp_path)
    lake.prompts(["p1", "p2", "p3"])
    lake.answers([("p1", "a", 1.0), ("p1", "b", 0.0), ("p1", "a", 1.0), ("p2", "c", 0.5), ("p2", "d", 1.0), ("p3", "e", None)])
    return lake


def test_poft_gives_the_anchor_and_leaves_out_what_has_none(small):
    measured(small, "anchor", {"p1-0": -0.9, "p1-1": -1.0, "p1-2": -0.9, "p2-1": None})
    assert [(row["generation_id"], row["extra"]) for row in run(small, "poft", top=2)] == [("p1-0", {"anchor": -0.9})]
    assert [row["extra"]["anchor"] for row in run(small, "poft", top=2, min_score=0.0)] == [-0.9, -1.0]


def test_c_rlft_asks_every_class_under_its_condition(small):
    rows = run(small, "c_rlft", per_class=2)
    found = [(row["generation_id"], row["label"], row["weight"], row["messages"][0]["content"]) for row in rows]
    assert sorted(found) == [
        ("p1-0", "expert", 1.0, "GPT4 Correct: ask p1"),
        ("p1-1", "other", 0.1, "GPT3: ask p1"),
        ("p1-2", "expert", 1.0, "GPT4 Correct: ask p1"),
        ("p2-0", "other", 0.1, "GPT3: ask p2"),
        ("p2-1", "expert", 1.0, "GPT4 Correct: ask p2"),
    ]
    assert [(m["role"], m["origin"], m["weight"]) for m in rows[0]["messages"]] == [("user", "prompt", 0.0), ("assistant", "policy", 1.0)]


def test_c_rlft_changes_the_condition_of_a_policy_that_was_asked_as_the_expert(small):
    asked = [{"role": "system", "content": "GPT3"}, {"role": "user", "content": "Good: one"}, {"role": "user", "content": "Good: two"}]
    small.put("prompts", "train", [{"prompt_id": name, "split": "train", "messages": asked} for name in ("p1", "p2", "p3")])
    rows = run(small, "c_rlft", expert="Good: ", other="Bad: ", experts=["nobody"], per_class=1)
    assert {row["label"] for row in rows} == {"other"} and len(rows) == 3  # a row without a score is of a class that actors make
    assert [m["content"] for m in rows[0]["messages"][:3]] == ["GPT3", "Good: one", "Bad: two"]
    again = run(small, "c_rlft", expert="Good: ", other="Bad: ", experts=["policy"], per_class=1)
    assert [m["content"] for m in again[0]["messages"][:3]] == ["GPT3", "Good: one", "Good: two"]


def test_kto_labels_by_score_and_leaves_out_what_lies_between(small):
    labels = {row["generation_id"]: row["label"] for row in run(small, "kto")}
    assert labels == {"p1-0": "desirable", "p1-1": "undesirable", "p2-1": "desirable"}
    assert len(run(small, "kto", undesirable=0.5)) == 4
    assert len(run(small, "kto", undesirable=0.5, per_label=1)) == 4


def test_weights_of_reward_weighted_regression(small):
    weights = {row["generation_id"]: row["weight"] for row in run(small, "weighted", tau=0.5)}
    expected = {"p1-0": 1.0, "p1-1": 0.1353353, "p1-2": 1.0, "p2-0": 0.3678794, "p2-1": 1.0}
    assert weights == pytest.approx(expected, abs=1e-7)
    least = run(small, "weighted", tau=0.5, min_weight=0.2)
    assert {row["generation_id"] for row in least} == set(expected) - {"p1-1"}


def test_advantage_weights_compare_with_the_mean_of_the_prompt(small):
    weights = {row["generation_id"]: row["weight"] for row in run(small, "weighted", baseline="mean")}
    raised = {"p1-0": 1 / 3, "p1-1": -2 / 3, "p1-2": 1 / 3, "p2-0": -0.25, "p2-1": 0.25}
    assert weights == pytest.approx({name: math.exp(value - 1 / 3) for name, value in raised.items()}, abs=1e-12)
    with pytest.raises(QueryError, match="baseline is none or mean, found median"):
        run(small, "weighted", baseline="median")


@pytest.fixture
def trajectories(tmp_path):
    """Perplexities of the catalogue under two checkpoints, and a fifth row."""
    lake = SmallLake(tmp_path)
    lake.prompts([f"p{i}" for i in range(5)])
    lake.answers([(f"p{i}", "one", 1.0) for i in range(5)])
    return lake


def confidences(small, perplexities, **params):
    detail = {f"p{i}-0": [math.log(value) for value in own] for i, own in enumerate(perplexities)}
    measured(small, "loss_trajectory", {item: losses[-1] for item, losses in detail.items()}, detail)
    return {row["generation_id"]: row for row in run(small, "sftmix", **params)}


def test_sftmix_splits_at_the_median_confidence(trajectories):
    rows = confidences(trajectories, [[2, 1.8], [6, 5], [3, 3], [10, 8]])
    found = [rows[f"p{i}-0"]["extra"]["confidence"] for i in range(4)]
    assert found == pytest.approx([-1.9, -5.5, -3.0, -9.0], abs=1e-12)
    assert [rows[f"p{i}-0"]["extra"]["half"] for i in range(4)] == [1, 0, 1, 0]
    assert [rows[f"p{i}-0"]["label"] for i in range(4)] == ["confident", "unconfident", "confident", "unconfident"]
    by_pair = {}
    for row in rows.values():
        by_pair.setdefault(row["extra"]["pair"], []).append(row["extra"])
    assert {tuple(sorted(one["half"] for one in pair)) for pair in by_pair.values()} == {(0, 1)} and len(by_pair) == 2
    assert all(len({one["lambda"] for one in pair}) == 1 for pair in by_pair.values())
    assert all(0 <= one["lambda"] <= 1 for pair in by_pair.values() for one in pair)


def test_sftmix_leaves_the_middle_of_an_odd_number_without_a_partner(trajectories):
    rows = confidences(trajectories, [[2, 1.8], [6, 5], [3, 3], [10, 8], [4, 4]])
    assert rows["p4-0"]["extra"].keys() == {"confidence"} and rows["p4-0"]["label"] is None
    assert sum(row["extra"].get("half", 0) for row in rows.values()) == 2


def test_sftmix_by_losses_does_not_follow_one_heavy_perplexity(trajectories):
    perplexities = [[1, 60], [9, 9], [2, 2], [20, 20]]
    assert confidences(trajectories, perplexities)["p0-0"]["extra"]["half"] == 0
    again = confidences(trajectories, perplexities, log_ppl=True)
    assert again["p0-0"]["extra"]["half"] == 1
    assert again["p2-0"]["extra"]["confidence"] == pytest.approx(-math.log(2), abs=1e-12)
