"""sql/select/by_actor.sql: several actors side by side, or one in the place of another."""

from __future__ import annotations

import pytest

from engine.select.steps import SelectedStep
from small_lake import SmallLake, spec

ANSWERS = [
    ("p1-0", "policy", "a", 1.0), ("p1-1", "policy", "b", 1.0), ("p1-2", "base", "a", 1.0),
    ("p1-3", "base", "c", 0.5), ("p1-4", "gold", "b", 1.0),
    ("p2-0", "policy", "x", 0.0), ("p2-1", "base", "y", 0.0), ("p2-2", "base", "z", 1.0), ("p2-3", "gold", "w", 1.0),
    ("p3-0", "gold", "v", 1.0),
]  # fmt: skip


@pytest.fixture
def small(tmp_path):
    lake = SmallLake(tmp_path)
    lake.prompts(["p1", "p2", "p3"])
    lake.answers([(name[:2], text, score) for name, _, text, score in ANSWERS])
    rows = lake.lake.read("generations", experiment="small", rounds=[0], part="rollout").to_pylist()
    who = {name: actor for name, actor, _, _ in ANSWERS}
    lake.put("generations", "rollout", [row | {"actor": who[row["generation_id"]]} for row in rows])
    return lake


def run(small, **params):
    one = spec(select={"sql": "select/by_actor.sql", "params": params})
    rows = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, 0)).rows["selected", "policy"].to_pylist()
    return sorted((row["generation_id"], row["rank"], row["reason"]) for row in rows)


def test_each_actors_best_trains_and_no_text_twice(small):
    ladder = ["policy", "base", "gold"]
    found = run(small, actors=ladder)
    assert [name for name, _, _ in found] == ["p1-0", "p2-2", "p2-3", "p3-0"]  # base and gold repeat the policy on p1
    assert found[1] == ("p2-2", 1, "score 1, of base")
    assert [name for name, _, _ in run(small, actors=ladder, min_score=0.5)] == ["p1-0", "p1-3", "p2-2", "p2-3", "p3-0"]
    assert [(name, rank) for name, rank, _ in run(small, actors=ladder, top=2)][:2] == [("p1-0", 1), ("p1-1", 2)]


def test_the_first_in_the_list_keeps_a_shared_text(small):
    assert [name for name, _, _ in run(small, actors=["gold", "base", "policy"]) if name.startswith("p1")] == ["p1-2", "p1-4"]


def test_the_others_stand_in_where_the_first_has_no_right_answer(small):
    assert [name for name, _, _ in run(small, actors=["policy", "base", "gold"], fill=True)] == ["p1-0", "p2-2", "p3-0"]
    assert [name for name, _, _ in run(small, actors=["policy", "gold"], fill=True)] == ["p1-0", "p2-3", "p3-0"]


def test_without_a_list_all_actors_count(small):
    assert [name for name, _, _ in run(small)] == ["p1-2", "p1-4", "p2-2", "p2-3", "p3-0"]
    assert [name for name, _, _ in run(small, actors=["policy"])] == ["p1-0"]
