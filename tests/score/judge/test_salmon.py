"""SALMON: scores of principles, the dominant one, negation, how many are drawn; by hand and over a real judge's rows."""

from __future__ import annotations

import json
from collections import Counter

import duckdb
import pytest

from engine import macros
from engine.score.measured_by_sql import MeasuredBySql
from generate_tiny import save
from score.judge.judging import compared, context
from small_lake import SmallLake, spec

SURE = {"share": 0.0001, "negate": 0.0, "flip": 0.0}  # every principle, none turned round, no noise


@pytest.fixture(scope="module")
def score():
    db = duckdb.connect(config={"threads": 1})
    macros.make(db, ["salmon_score()"], set())
    return lambda *values: db.execute("select salmon_score(?, ?, ?)", list(values)).fetchone()[0]


@pytest.mark.parametrize(
    ("forward", "swapped", "variance", "value"),
    [(2, 1, 2, 0.75), (-3, -1, 4, -0.5), (1, -2, 1, 0), (0, 0, 1, 0), (2, 2, 0, 0), (2, None, 1, None)],
)
def test_the_score_of_a_principle(score, forward, swapped, variance, value):
    assert score(forward, swapped, variance) == value


def preference(prompt, left, right, order, margins):
    """A row; `margins` are for the left answer, the judge sees them from the first one's side."""
    side = 1 if order == "forward" else -1
    detail = {"criteria": {name: {"margin": side * margin} for name, margin in margins.items()}}
    own = {"prompt_id": prompt, "left_id": left, "right_id": right, "judge": "judge", "judge_version": "1", "order": order}
    return own | {"detail": json.dumps(detail)}


def labels(folder, pairs, round_=0, **params):
    """item -> value of the answers of pairs [(forward margins, swapped margins)], one prompt a pair."""
    small = SmallLake(folder)
    names = [f"p{i:03d}" for i in range(len(pairs))]
    small.prompts(names, round_=round_)
    small.answers([(name, text, 0.0) for name in names for text in "lr"], round_=round_)
    tail = f"-r{round_}" if round_ else ""
    rows = [
        preference(name, f"{name}-0{tail}", f"{name}-1{tail}", order, margins)
        for name, both in zip(names, pairs, strict=True)
        for order, margins in zip(("forward", "swapped"), both, strict=True)
    ]
    small.put("preferences", "rollout/judge", rows, round_)
    own = spec(compare=[{"method": "judge", "params": {"model": "policy"}}], measure=[{"sql": "measures/salmon.sql", "params": params}])
    step = MeasuredBySql(own.measure[0], (), folder / "spec.yaml")
    out = step.run(small.context(own, round_))
    return {row["item_id"]: row for row in out.rows["scores", "rollout/salmon"].to_pylist()}


def test_the_dominant_principle_decides(tmp_path):
    # margins of a: 2, 1, -2, -1: variance 2.5, score .6; of b: -3, -1, 3, 1: variance 5, score -.4
    pairs = [({"a": 2, "b": -3}, {"a": 1, "b": -1}), ({"a": -2, "b": 3}, {"a": -1, "b": 1})]
    rows = labels(tmp_path, pairs, **SURE)
    assert {item: row["value"] for item, row in rows.items()} == {"p000-0": 1, "p000-1": 0, "p001-0": 0, "p001-1": 1}
    assert rows["p000-0"]["detail"] == "a: 0.6, won" and rows["p000-1"]["detail"] == "a: 0.6, lost"


def test_a_principle_that_is_turned_round_turns_the_label(tmp_path):
    pairs = [({"a": 2, "b": -3}, {"a": 1, "b": -1}), ({"a": -2, "b": 3}, {"a": -1, "b": 1})]
    rows = labels(tmp_path, pairs, **SURE | {"negate": 1.0})
    assert {item: row["value"] for item, row in rows.items()} == {"p000-0": 0, "p000-1": 1, "p001-0": 1, "p001-1": 0}
    assert rows["p000-1"]["detail"] == "not a: -0.6, won"


def test_noise_turns_labels(tmp_path):
    rows = labels(tmp_path, [({"a": 2}, {"a": 1}), ({"a": 2}, {"a": 1})], **SURE | {"flip": 1.0})
    assert {item: row["value"] for item, row in rows.items()} == {"p000-0": 0, "p000-1": 1, "p001-0": 0, "p001-1": 1}


def test_a_judge_that_follows_the_place_decides_nothing(tmp_path):
    rows = labels(tmp_path, [({"c": 1}, {"c": -2}), ({"c": 1}, {"c": 2})], **SURE)
    assert [rows[item]["value"] for item in ("p000-0", "p000-1")] == [None, None]
    assert rows["p000-0"]["detail"] == "no comparison is decided" and rows["p001-0"]["value"] == 1


def test_how_many_principles_are_drawn_is_geometric_and_bounded(tmp_path):
    """With margins that grow with the name the dominant principle is the last one drawn: the first of one draw shows how many."""
    names = "abcdefghij"
    pairs = [
        ({n: (-1) ** i * 2.0**-k for k, n in enumerate(names)}, {n: (-1) ** i * 2.0**-k for k, n in enumerate(names)}) for i in range(400)
    ]
    rows = labels(tmp_path, pairs, share=0.2, most=8, negate=0.0, flip=0.0)
    # all scores of a principle have the variance of its margins, 4 ** -k: score 2 ** k, so the largest name of those drawn decides
    seen = Counter(row["detail"][0] for item, row in rows.items() if item.endswith("-0"))
    # P(largest is the last of 10) = mean of n / 10 with n = min(Geometric(.2), 8): E[n] = (1 - .8 ** 8) / .2 = 4.161
    assert seen["j"] / 400 == pytest.approx(0.4161, abs=0.08)
    assert {row["value"] for row in rows.values()} == {0, 1}
    one = Counter(
        row["detail"][0] for item, row in labels(tmp_path / "1", pairs, share=1 - 1e-9, negate=0.0, flip=0.0).items() if item.endswith("-0")
    )
    assert max(one.values()) < 80 and len(one) == 10, "one principle, each as often as any other"
    turned = labels(tmp_path / "2", pairs, share=0.2, negate=0.5, flip=0.0)
    share = sum(row["detail"].startswith("not") for item, row in turned.items() if item.endswith("-0")) / 400
    assert share == pytest.approx(0.5, abs=0.1)


def test_draws_are_those_of_the_round_and_the_same_twice(tmp_path):
    pairs = [({"a": 2, "b": -3}, {"a": 1, "b": -1})] * 20
    first = labels(tmp_path / "a", pairs)
    assert labels(tmp_path / "b", pairs) == first
    later = labels(tmp_path / "c", pairs, round_=1)
    assert [row["detail"] for row in later.values()] != [row["detail"] for row in first.values()]


def test_a_judge_with_principles_fills_what_the_sql_reads(tmp_path):
    (tmp_path / "principles.yaml").write_text("short: is short\nkind: is kind\n")
    (tmp_path / "own.yaml").write_text(
        "about: x\ncompares: true\nread: logprobs\nquestion: '{criterion} {first} or {second}? {question}'\nvalues: {A: 1, B: 0}\n"
    )
    how = {"model": "policy", "prompt": "own.yaml", "criteria_file": "principles.yaml"}
    ctx = context(tmp_path, [("p", "one"), ("p", "two")], {"policy": save(tmp_path / "m")}, compare=[{"method": "judge", "params": how}])
    rows = compared(ctx)
    detail = {order: json.loads(rows["g0", "g1", order]["detail"])["criteria"] for order in ("forward", "swapped")}
    margins = [
        ({n: detail["forward"][n]["margin"] for n in detail["forward"]}, {n: -detail["swapped"][n]["margin"] for n in detail["swapped"]})
    ]
    assert set(detail["forward"]) == {"short", "kind"}
    found = labels(tmp_path / "sql", margins, **SURE)
    assert {row["value"] for row in found.values()} in ({0, 1}, {None})
