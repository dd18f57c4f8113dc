"""sql/select/grape.sql and sql/queries/actor_share.sql."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.select.steps import SelectedStep
from small_lake import SmallLake, spec

ROOT = Path(__file__).parents[2]


def measured(small, column, numbers, round_=0):
    rows = [{"item_id": item, "item_kind": "generation", "prompt_id": item.split("-")[0], "scorer": column, "value": value}
            for item, value in numbers.items()]  # fmt: skip
    small.put("scores", f"rollout/{column}", rows, round_)


def run(small, round_=0, **params):
    one = spec(select={"sql": "select/grape.sql", "params": params})
    output = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, round_))
    small.keep(output, round_)
    return sorted(output.rows["selected", "policy"].to_pylist(), key=lambda row: (row["prompt_id"], row["rank"]))


@pytest.fixture
def small(tmp_path):
    lake = SmallLake(tmp_path)
    lake.prompts(["p1", "p2", "p3"])
    lake.answers([("p1", "short", 1.0), ("p1", "long", 1.0), ("p1", "wrong", 0.0), ("p1", "long", 1.0),
                  ("p2", "a", 1.0), ("p2", "b", 1.0), ("p2", "c", 1.0), ("p3", "x", 0.0)])  # fmt: skip
    # p1: -3 over 3 tokens against -8 over 10; the wrong answer fits best; p2: a tie, and one that was too long to read
    sums = {"p1-0": (-3.0, 3), "p1-1": (-8.0, 10), "p1-2": (-0.5, 5), "p1-3": (-8.0, 10),
            "p2-0": (-4.0, 2), "p2-1": (-2.0, 2), "p2-2": (-2.0, 2), "p3-0": (-0.1, 1)}  # fmt: skip
    measured(lake, "fit", {item: total for item, (total, _) in sums.items()})
    measured(lake, "fit_mean", {item: None if item == "p2-0" else total / n for item, (total, n) in sums.items()})
    return lake


def test_the_mean_decides_where_the_sum_would_take_another(small):
    rows = run(small)
    assert [(row["generation_id"], row["rank"]) for row in rows] == [("p1-1", 1), ("p2-1", 1)]
    assert rows[0]["reason"] == "fit -0.8000, of 2 candidates, by policy"


def test_top_k_takes_no_text_twice_and_nothing_unread(small):
    assert [row["generation_id"] for row in run(small, top=3)] == ["p1-1", "p1-0", "p2-1", "p2-2"]
    assert [row["generation_id"] for row in run(small, min_score=0.0)] == ["p1-2", "p2-1", "p3-0"]


def test_actor_share_shows_whose_answers_train(small):
    answers = small.lake.read("generations", experiment="small", rounds=[0], part="rollout").to_pylist()
    for row in answers:
        row["actor"] = "teacher" if row["generation_id"] in ("p1-0", "p2-1", "p2-2") else "policy"
    small.put("generations", "rollout", answers)
    small.put("generations", "eval", [row | {"actor": "other", "generation_id": "e"} for row in answers[:1]])
    run(small)
    found = small.session(0).table((ROOT / "sql/queries/actor_share.sql").read_text(), {"experiment": "small"}).to_pylist()
    columns = ("role", "actor", "answers", "selected", "share_of_answers", "share_of_selected")
    expected = [("policy", "policy", 5, 1, 0.625, 0.5), ("policy", "teacher", 3, 1, 0.375, 0.5)]
    assert [tuple(row[c] for c in columns) for row in found] == expected
