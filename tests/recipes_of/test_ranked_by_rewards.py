"""The SQL of recipes whose models judge in the loop, on the catalogue's numbers: who is right and ranked, hard, near, drawn to a target."""

from __future__ import annotations

import math

import pytest

import pairs_lake
from engine.errors import QueryError
from engine.pairs import STEP
from engine.score.compared import Compared
from engine.score.measured_by_sql import MeasuredBySql
from engine.select.steps import SelectedStep
from engine.spec import Compare
from engine.stepsql import StepSql
from small_lake import SmallLake, spec


def selected(small, sql, round_=0, **params):
    one = spec(select={"sql": f"select/{sql}.sql", "params": params})
    output = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, round_))
    return sorted(output.rows["selected", "policy"].to_pylist(), key=lambda row: (row["prompt_id"], row["rank"]))


def measured(small, sql, **params):
    one = spec(measure=[{"sql": f"measures/{sql}.sql", "params": params}])
    out = MeasuredBySql(one.measure[0], (), small.folder / "spec.yaml").run(small.context(one, 0))
    return {row["item_id"]: row for row in out.rows["scores", f"rollout/{sql}"].to_pylist()}


def values(small, sql, **params):
    return {item: row["value"] for item, row in measured(small, sql, **params).items()}


def test_right_answers_are_ranked_by_the_reward_model(tmp_path):
    small = pairs_lake.by_scores(tmp_path, [1.0, 0.0, 1.0, 1.0, 1.0])
    pairs_lake.column(small, "rm", {"p0-0": 0.5, "p0-1": 9.0, "p0-2": 2.0, "p0-3": 2.0, "p0-4": None})
    found = selected(small, "right_by", by="rm", top=2)
    assert [(row["generation_id"], row["rank"], row["reason"]) for row in found] == [
        ("p0-2", 1, "right, rm 2"),
        ("p0-3", 2, "right, rm 2"),
    ]
    pairs_lake.change(small, response={"p0-3": "answer 2"})  # the same text as p0-2 counts once
    assert [row["generation_id"] for row in selected(small, "right_by", by="rm", top=2)] == ["p0-2", "p0-0"]
    assert [row["generation_id"] for row in selected(small, "best_by", by="rm", top=2)] == ["p0-1", "p0-2"]
    assert [row["generation_id"] for row in selected(small, "best_by", by="rm", top=9, min_value=2.0)] == ["p0-1", "p0-2", "p0-3"]


def test_prompts_without_a_reference_take_the_elected_answer(tmp_path):
    small = pairs_lake.by_scores(tmp_path, [1.0, 0.0], [None, None, None])
    rows = [{"prompt_id": p, "split": "train", "messages": [{"role": "user", "content": p}], "reference": ref} for p, ref in
            (("p0", "1"), ("p1", None))]  # fmt: skip
    small.put("prompts", "train", rows)
    pairs_lake.column(small, "rm", {"p0-0": 0.0, "p0-1": 1.0, "p1-0": 1.0, "p1-1": 3.0, "p1-2": 2.0})
    pairs_lake.column(small, "majority", {"p0-0": 0.0, "p0-1": 1.0, "p1-0": 1.0, "p1-1": 0.0, "p1-2": 1.0})
    found = selected(small, "right_by", by="rm", top=1, elected="majority")
    assert [(row["generation_id"], row["reason"]) for row in found] == [("p0-0", "right, rm 0"), ("p1-2", "elected, rm 2")]
    assert [row["generation_id"] for row in selected(small, "right_by", by="rm", top=1)] == ["p0-0"]


def test_the_pairs_of_a_prompt_weigh_one_together(tmp_path):
    """The listwise loss of Qwen2.5-Math, 0.331656, as the weighted sum of Bradley-Terry over the pairs."""
    rewards = [1.0, 0.5, 0.0, -1.0, 0.2, -0.3]
    small = pairs_lake.by_scores(tmp_path, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [1.0, 1.0], [0.0, 0.0])
    found = pairs_lake.rows(small, "right_wrong", weigh="prompts")
    assert len(found) == 8 and {row["weight"] for row in found} == {1 / 8}  # all right and all wrong prompts drop
    loss = 0.0
    for row in found:
        margin = rewards[int(row["chosen_id"][-1])] - rewards[int(row["rejected_id"][-1])]
        loss += row["weight"] * math.log1p(math.exp(-margin))
    assert loss == pytest.approx(0.331656, abs=1e-6)
    capped = pairs_lake.rows(small, "right_wrong", weigh="prompts", per_prompt=3)
    assert [row["weight"] for row in capped] == [1 / 3] * 3
    assert {row["weight"] for row in pairs_lake.rows(small, "right_wrong")} == {1.0}


def hard(folder, **params):
    """Round 0 has the rewards of the catalogue, round 1 a passing and a failing answer."""
    small = pairs_lake.by_scores(folder, [0.0, 1.0, 0.0])
    pairs_lake.column(small, "rm", {"p0-0": 2.0, "p0-1": 1.5, "p0-2": 0.2})
    small.prompts(["p9"], round_=1)
    small.answers([("p9", "right", 1.0), ("p9", "wrong", 0.0), ("p9", "wrong again", 0.0)], round_=1)
    return pairs_lake.rows(small, "hard_negatives", round_=1, **params)


def test_a_failing_answer_that_the_reranker_liked_is_a_hard_negative(tmp_path):
    found = hard(tmp_path / "a", above=1.0, hard_weight=2.0)
    fresh, old = ([row for row in found if row["source_round"] == r] for r in (1, 0))
    assert pairs_lake.ids(fresh) == [("p9-0-r1", "p9-1-r1"), ("p9-0-r1", "p9-2-r1")] and {row["weight"] for row in fresh} == {1.0}
    (one,) = old
    assert (one["chosen_id"], one["rejected_id"], one["weight"], one["margin"]) == ("p0-1", "p0-0", 2.0, -0.5)
    assert [one[side][0]["content"] for side in ("messages", "chosen", "rejected")] == ["ask p0", "answer 1", "answer 0"]
    assert pairs_lake.ids(hard(tmp_path / "b")) == pairs_lake.ids(found)  # over the best passing one: the same here
    assert len(hard(tmp_path / "c", above=0.1)) == 4 and len(hard(tmp_path / "d", above=2.5)) == 2
    assert math.log1p(math.exp(-(1.2 - 0.7))) == pytest.approx(0.4741, abs=5e-5)
    early = pairs_lake.by_scores(tmp_path / "e", [1.0, 0.0])  # nothing came before round 0
    assert pairs_lake.pairs(early, "hard_negatives") == [("p0-0", "p0-1")]


def test_a_parameter_about_earlier_rounds_names_no_column_of_this_one():
    """Else the pairs that train the reranker would wait for its own numbers."""
    sql = StepSql.load("pairs/hard_negatives.sql", {"past_scorer": "rm", "scorer": "format"}, STEP, None)
    assert sql.names("format") and not sql.names("rm")


def judged(folder, scores, gold="4"):
    small = SmallLake(folder)
    asked = [{"role": "user", "content": "Rate it."}]
    small.put("prompts", "train", [{"prompt_id": "p0", "split": "train", "messages": asked, "reference": gold}])
    small.answers([("p0", f"It is fine. Score: {s}" if s is not None else "It is fine.", 0.0) for s in scores])
    return small


def test_judgements_that_hit_the_gold_score_against_those_that_miss_it(tmp_path):
    small = judged(tmp_path / "a", [4, 2, 5, 4, 1])
    distance = values(small, "score_distance", least=1, most=5)
    assert distance == {"p0-0": 0.0, "p0-1": -2.0, "p0-2": -1.0, "p0-3": 0.0, "p0-4": -3.0}
    pairs_lake.column(small, "distance", distance)
    own = {"scorer": "distance", "min_score": 0.0, "unscored": "wrong"}
    assert len(pairs_lake.pairs(small, "right_wrong", max_wrong=-1.0, **own)) == 6
    two = pairs_lake.pairs(small, "right_wrong", max_wrong=-2.0, **own)
    assert two == [("p0-0", "p0-1"), ("p0-0", "p0-4"), ("p0-3", "p0-1"), ("p0-3", "p0-4")]
    alike = judged(tmp_path / "b", [4, 4])
    pairs_lake.column(alike, "distance", values(alike, "score_distance"))
    assert pairs_lake.pairs(alike, "right_wrong", max_wrong=-1.0, **own) == []


def test_a_judgement_that_cannot_be_read_may_only_be_rejected(tmp_path):
    small = judged(tmp_path, [4, None, 9])
    found = measured(small, "score_distance", least=1, most=5)
    assert [found[item]["value"] for item in ("p0-0", "p0-1", "p0-2")] == [0.0, None, None]
    assert (found["p0-1"]["detail"], found["p0-2"]["detail"]) == ("no number is found", "9 is outside the scale")
    pairs_lake.column(small, "distance", {item: row["value"] for item, row in found.items()})
    own = {"scorer": "distance", "min_score": 0.0, "max_wrong": -2.0, "unscored": "wrong"}
    assert pairs_lake.pairs(small, "right_wrong", **own) == [("p0-0", "p0-1"), ("p0-0", "p0-2")]
    with pytest.raises(QueryError, match="the reference four is no number"):
        measured(judged(tmp_path / "odd", [4], "four"), "score_distance")


def test_several_rewards_are_drawn_to_a_target_and_no_further(tmp_path):
    small = pairs_lake.by_scores(tmp_path, [0.0] * 3)
    rewards = {"a": [1.5, 2.0, 1.0], "b": [2.4, 2.0, None], "c": [-0.2, 7.0, 1.0]}
    for name, row in rewards.items():
        pairs_lake.column(small, name, {f"p0-{i}": value for i, value in enumerate(row)})
    found = values(small, "hinge_sum", scorers=list("abc"), standardise=False)
    assert found == {"p0-0": pytest.approx(-0.0027, abs=1e-12), "p0-1": 0.0, "p0-2": None}
    # each on a scale of its own changes nothing once they are standardised
    before = values(small, "hinge_sum", scorers=list("ac"))
    pairs_lake.column(small, "c", {f"p0-{i}": 100 * value - 5 for i, value in enumerate(rewards["c"])})
    assert values(small, "hinge_sum", scorers=list("ac")) == pytest.approx(before, abs=1e-12) and before["p0-1"] > before["p0-0"]
    with pytest.raises(QueryError, match="no row of the scorer lost"):
        values(small, "hinge_sum", scorers=["a", "lost"])


def test_the_reward_of_salmon(tmp_path):
    small = pairs_lake.by_scores(tmp_path, [0.0] * 2)
    pairs_lake.change(small, response_tokens={"p0-0": 1024, "p0-1": 256}, finish_reason={"p0-0": "stop", "p0-1": "length"})
    pairs_lake.column(small, "a", {"p0-0": 1.0, "p0-1": 2.0})
    pairs_lake.column(small, "b", {"p0-0": 2.0, "p0-1": 3.0})
    assert values(small, "salmon_reward", scorers=["a", "b"]) == {"p0-0": 1.5 + 4.0, "p0-1": 2.5 + 1.25 - 6.0}


def test_the_principle_that_decided_stands_before_the_prompt(tmp_path):
    small = pairs_lake.by_scores(tmp_path, [0.0, 0.0], [0.0, 0.0], [0.0, 0.0])
    told = {"p0-0": (1.0, "honest: 0.75, won"), "p0-1": (0.0, "honest: 0.75, lost"), "p2-0": (None, "no comparison is decided")}
    told |= {"p1-0": (0.0, "not brief: -0.5, lost"), "p1-1": (1.0, "not brief: -0.5, won"), "p2-1": (None, "no comparison is decided")}
    rows = [{"item_id": item, "item_kind": "generation", "prompt_id": item[:2], "scorer": "salmon", "value": value, "detail": detail}
            for item, (value, detail) in told.items()]  # fmt: skip
    small.put("scores", "rollout/salmon", rows)
    found = pairs_lake.rows(small, "principled")
    assert [(row["chosen_id"], row["rejected_id"], row["messages"][-1]["content"]) for row in found] == [
        ("p0-0", "p0-1", "Principle: honest\n\nask p0"),
        ("p1-1", "p1-0", "Principle: not brief\n\nask p1"),
    ]


def test_the_estimator_is_asked_about_halves_or_ends(tmp_path):
    small = pairs_lake.by_scores(tmp_path, [5.0, 4.0, 3.0, 2.0, 1.0, 0.0], [1.0, 1.0])

    def asked(**params):
        one = Compare(method="judge", params={"model": "policy"}, sql="duels/halves.sql", sql_params=params)
        step = Compared(one, small.folder / "spec.yaml")
        sql = step._sql
        found = small.context(spec(compare=[one.model_dump()])).sql(sql.file.query(), sql.bound(spec(), 0)).to_pylist()
        return sorted((int(row["left_id"][-1]), int(row["right_id"][-1])) for row in found)

    assert asked() == [(i, j) for i in range(3) for j in range(3, 6)]  # 9 of 15
    assert asked(ends=2) == [(0, 1), (0, 4), (0, 5), (1, 4), (1, 5), (4, 5)]
    assert len(asked(ends=2, share=0.5)) == 3 and set(asked(ends=2, share=0.5)) < set(asked(ends=2))
