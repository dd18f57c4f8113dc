"""Selections that put rows in an order or let rounds grow and shrink."""

from __future__ import annotations

import json

import pytest

from engine.errors import QueryError
from engine.select.steps import SelectedStep
from engine.tables import check, check_keys
from small_lake import SmallLake, spec


def lake(tmp_path, rates, round_=0, small=None, **columns):
    """Prompts by name with as many of four answers right as `rates` says; the first answer is always right."""
    small = small or SmallLake(tmp_path)
    rows = [{"prompt_id": p, "split": "train", "messages": [{"role": "user", "content": p}]} for p in rates]
    small.put("prompts", "train", [row | columns.get(row["prompt_id"], {}) for row in rows], round_)
    small.answers([(p, f"{p}/{a}", float(a < n)) for p, n in rates.items() for a in range(4)], round_=round_)
    return small


def select(small, sql, round_=0, seed=7, **params):
    one = spec(select={"sql": f"select/{sql}.sql", "params": params}, seed=seed)
    output = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, round_))
    rows = output.rows["selected", "policy"]
    check_keys("selected", check("selected", rows))
    return sorted(rows.to_pylist(), key=lambda row: (row["order"] or 0, row["rank"] or 0))


def prompts(rows):
    return [row["prompt_id"] for row in rows]


def test_curriculum_by_pass_rate(tmp_path):
    small = lake(tmp_path, {"a": 2, "b": 4, "c": 0, "d": 1, "e": 3})
    rows = select(small, "curriculum")
    assert prompts(rows) == ["b", "e", "a", "d"]  # c has no right answer
    assert [row["order"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["reason"] == "difficulty 0.000" and rows[0]["generation_id"] == "b-0"
    assert prompts(select(small, "curriculum", rule="hard_first")) == ["d", "a", "e", "b"]
    assert prompts(select(small, "curriculum", rule="hard_first", min_score=0.0)) == ["c", "d", "a", "e", "b"]
    with pytest.raises(QueryError, match="rule: expected easy_first, hard_first or learning_progress, found up"):
        select(small, "curriculum", rule="up")


def test_curriculum_by_given_difficulty_and_drawn_ties(tmp_path):
    names = {f"p{i:02}": 4 for i in range(12)}
    small = lake(tmp_path, names, **{p: {"difficulty": float(int(p[1:]) % 2)} for p in names})
    rows = prompts(select(small, "curriculum", difficulty="given"))
    assert [int(p[1:]) % 2 for p in rows] == [0] * 6 + [1] * 6
    assert rows[:6] != sorted(rows[:6])
    assert rows != prompts(select(small, "curriculum", difficulty="given", seed=8))
    small = lake(tmp_path / "none", {"a": 4})
    with pytest.raises(QueryError, match="prompt a has no difficulty"):
        select(small, "curriculum", difficulty="given")


def test_curriculum_by_learning_progress(tmp_path):
    small = lake(tmp_path, {"a": 1, "b": 3, "c": 2, "new": 4}, round_=2)
    lake(tmp_path, {"a": 4, "c": 0}, round_=0, small=small)
    lake(tmp_path, {"a": 1, "b": 1}, round_=1, small=small)
    rows = select(small, "curriculum", 2, rule="learning_progress")
    # c: 0 -> 1/2 and b: 1/4 -> 3/4 as much, c is harder; a: 1/4 -> 1/4 (round 0 is too long ago); then what is new
    assert prompts(rows) == ["b", "c", "a", "new"]
    assert rows[2]["reason"] == "difficulty 0.750, progress 0.000" and rows[3]["reason"] == "difficulty 0.000"


def test_cyclical_sizes_over_rounds_and_easy_prompts_first(tmp_path):
    small = SmallLake(tmp_path)
    rates = {f"p{i:03}": 1 + i % 4 for i in range(40)}
    for round_ in range(6):
        lake(tmp_path, rates, round_=round_, small=small)
    assert [len(select(small, "cyclical", r)) for r in range(6)] == [10, 20, 40, 20, 10, 20]
    assert [len(select(small, "cyclical", r, first=0.5, factor=0.25)) for r in range(4)] == [20, 40, 20, 40]
    easy = [sum(rates[p] == 4 for p in prompts(select(small, "cyclical", 0, seed=s))) for s in range(5)]
    assert sum(easy) > 25  # a quarter of the prompts, and more than half of the 50 drawn
    assert len(select(small, "cyclical", 0, first=0.001)) == 1


def test_interleaved_subjects(tmp_path):
    given = {"A1": ("a", 1), "A2": ("a", 2), "B1": ("b", 1), "B2": ("b", 2)}
    small = lake(tmp_path, dict.fromkeys(given, 4), **{p: {"topic": t, "difficulty": float(d)} for p, (t, d) in given.items()})
    assert prompts(select(small, "interleaved")) == ["A1", "B1", "A2", "B2"]
    twelve = {f"{t}{level}{i}": (t, level) for t in "ab" for level in (1, 2) for i in range(3)}
    meta = {p: {"topic": t, "meta": json.dumps({"bloom": level, "stage": 2 - level})} for p, (t, level) in twelve.items()}
    small = lake(tmp_path / "more", dict.fromkeys(twelve, 4), **meta)
    kinds = [p[:2] for p in prompts(select(small, "interleaved", level="$.bloom"))]
    assert kinds == ["a1", "b1"] * 3 + ["a2", "b2"] * 3
    kinds = [p[:2] for p in prompts(select(small, "interleaved", level="$.bloom", interleave=False))]
    assert kinds == ["a1"] * 3 + ["b1"] * 3 + ["a2"] * 3 + ["b2"] * 3
    kinds = [p[:2] for p in prompts(select(small, "interleaved", level="$.bloom", stage="$.stage"))]
    assert kinds == ["a2", "b2"] * 3 + ["a1", "b1"] * 3
    assert len(prompts(select(small, "interleaved", level="pass_rate"))) == 12
    with pytest.raises(QueryError, match="has no level"):
        select(small, "interleaved")
