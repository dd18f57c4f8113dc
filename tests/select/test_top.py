"""select/top.sql: the best of each prompt by any scorer."""

from __future__ import annotations

import pytest

from engine.errors import QueryError
from engine.select.steps import SelectedStep
from small_lake import SmallLake, spec


def run(small, **params):
    one = spec(select={"sql": "select/top.sql", "params": params})
    output = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, 0))
    return [(row["generation_id"], row["rank"], row["reason"]) for row in output.rows["selected", "policy"].to_pylist()]


@pytest.fixture
def small(tmp_path):
    lake = SmallLake(tmp_path)
    lake.prompts(["p1", "p2", "p3"])
    lake.answers([("p1", "a", 1.0), ("p1", "b", 0.0), ("p1", "c", 0.0), ("p2", "d", 0.0), ("p2", "e", 0.0), ("p3", "f", 1.0)])
    numbers = {"p1-0": -9.0, "p1-1": -2.5, "p1-2": -4.0, "p2-0": -3.0, "p2-1": -3.0, "p3-0": None}
    rows = [{"item_id": k, "item_kind": "generation", "prompt_id": k[:2], "scorer": "own", "value": v} for k, v in numbers.items()]
    lake.put("scores", "rollout/own", rows)
    return lake


def test_the_best_by_the_named_number_whatever_the_score_says(small):
    assert run(small, scorer="own") == [("p1-1", 1, "own -2.5"), ("p2-0", 1, "own -3")]  # a tie goes to the earlier one; p3 has none
    assert [one[:2] for one in run(small, scorer="own", top=2)] == [("p1-1", 1), ("p1-2", 2), ("p2-0", 1), ("p2-1", 2)]
    assert [one[0] for one in run(small, scorer="own", min_value=-2.9)] == ["p1-1"]


def test_a_scorer_without_numbers_is_an_error(small):
    with pytest.raises(QueryError, match="no answer has a number of the scorer lost"):
        run(small, scorer="lost")


def test_with_the_score_it_is_raft(small):
    one = spec(select={"sql": "select/raft.sql", "params": {"min_score": 0.0}})
    raft = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, 0)).rows["selected", "policy"]
    assert [one[0] for one in run(small)] == raft["generation_id"].to_pylist() == ["p1-0", "p2-0", "p3-0"]
