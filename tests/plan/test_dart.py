"""DART: targets from fail rates, what is taken of them, and the prompts that miss theirs."""

import pytest

from engine.plan.steps import PlanStep
from engine.select.steps import SelectedStep
from engine.spec import Plan
from small_lake import SmallLake, spec


def _answers(counts):
    """Answers of each prompt: `right` right ones after `wrong` wrong ones."""
    return [row for prompt, (right, wrong) in counts.items() for row in [(prompt, "no", 0.0)] * wrong + [(prompt, "yes", 1.0)] * right]


def _plan(small, sql, round_=0, **params):
    one = spec(
        calibrate={"temperatures": [1.6]},
        plan=[{"name": "dart", "sql": sql, "params": params}],
        select={"sql": "select/raft.sql"},
    )
    step = PlanStep(Plan(name="dart", sql=sql, params=params), small.folder / "spec.yaml")
    step.check(one, small.folder / "spec.yaml")
    output = step.run(small.context(one, round_))
    small.keep(output, round_)
    rows = output.rows["plan", "dart"].to_pylist()
    assert {row["key"] for row in rows} == {"right"}
    return {row["item_id"]: int(row["value"]) for row in rows}


def _select(small, sql="select/dart.sql", round_=0, **params):
    one = spec(select={"sql": sql, "params": params}, plan=[{"name": "dart", "sql": "plan/dart_uniform.sql"}])
    output = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, round_))
    return [row["generation_id"] for row in output.rows["selected", "policy"].to_pylist()]


def test_targets_follow_the_fail_rates(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["a", "b", "c", "d"])
    small.answers(_answers({"a": (10, 0), "b": (9, 1), "c": (5, 5), "d": (0, 10)}), part="calibrate")
    assert _plan(small, "plan/dart_prop2diff.sql") == {"a": 1, "b": 20, "c": 96, "d": 192}
    small.answers(_answers({"a": (4, 1), "b": (3, 2), "c": (1, 4), "d": (5, 0)}), part="calibrate")
    assert _plan(small, "plan/dart_prop2diff.sql", right=10) == {"a": 3, "b": 5, "c": 10, "d": 1}
    small.answers(_answers({"a": (5, 0), "b": (1, 0), "c": (2, 0), "d": (1, 0)}), part="calibrate")
    assert _plan(small, "plan/dart_prop2diff.sql") == dict.fromkeys("abcd", 1)


def test_an_answer_without_a_score_and_a_prompt_without_answers_count_as_failed(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["a", "b"])
    small.answers([("a", "x", None), ("a", "y", 1.0)], part="calibrate")
    assert _plan(small, "plan/dart_prop2diff.sql", right=10) == {"a": 5, "b": 10}
    assert _plan(small, "plan/dart_prop2diff.sql", right=10, unseen=0.25) == {"a": 10, "b": 5}


def test_fail_rates_of_earlier_rounds_know_when_sampling_stopped(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["a", "b", "c"])
    # round 0: a is stopped at its 3rd right answer in trial 5, two more came in its wave; b used up its trials
    rows = [("a", f"{i}", value) for i, value in enumerate([1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0])]
    small.answers(rows + _answers({"b": (2, 8)}), round_=0)
    small.put("plan", "dart", [{"key": "right", "item_id": None, "value": "3"}], 0)
    small.prompts(["a", "b", "c"], round_=1)
    # a: 1 - 2/4 = 1/2 instead of 3/7; b: 8/10; c was not asked: 1
    assert _plan(small, "plan/dart_prop2diff_history.sql", 1, right=100) == {"a": 50, "b": 80, "c": 100}
    assert _plan(small, "plan/dart_prop2diff_history.sql", 1, right=70, unbiased=False) == {"a": 30, "b": 56, "c": 70}
    small.put("plan", "dart", [], 0)
    assert _plan(small, "plan/dart_prop2diff_history.sql", 1, right=100, stopped=3)["a"] == 50
    assert _plan(small, "plan/dart_prop2diff_history.sql", 1, right=70)["a"] == 30


def test_uniform_takes_the_target_and_reports_what_is_missing(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["a", "b", "c"])
    small.answers(_answers({"a": (0, 3), "b": (1, 2), "c": (5, 1)}))
    assert _plan(small, "plan/dart_uniform.sql", right=2) == {"a": 2, "b": 2, "c": 2}
    assert _select(small) == ["b-2", "c-1", "c-2"]
    found = small.session().table((_query() / "budgets.sql").read_text(), {"experiment": "small", "round": 0, "bar": 1.0, "limit": 9})
    rows = [tuple(row[name] for name in ("prompt_id", "trials", "corrects", "target", "deficit")) for row in found.to_pylist()]
    assert rows == [("a", 3, 0, 2, 2), ("b", 3, 1, 2, 1), ("c", 6, 5, 2, 0)]
    small.put("plan", "dart", [])
    small.put("steps", "generations", [{"step": "generations", "detail": '{"until": {"right": 3}}'}])
    found = small.session().table((_query() / "budgets.sql").read_text(), {"experiment": None, "round": None, "bar": 1.0, "limit": 9})
    assert dict(zip(found["prompt_id"].to_pylist(), found["deficit"].to_pylist(), strict=True)) == {"a": 3, "b": 2, "c": 0}


def _query():
    from engine.views import SQL

    return SQL / "queries"


def test_order_duplicates_and_targets_of_single_prompts(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["a", "b"])
    small.answers([("a", text, 1.0) for text in "xxyzw"] + [("b", text, 1.0) for text in "xy"])
    small.put("plan", "dart", [{"key": "right", "item_id": None, "value": "1"}, {"key": "right", "item_id": "a", "value": "3"}])
    assert _select(small) == ["a-0", "a-1", "a-2", "b-0"]
    assert _select(small, dedupe=True) == ["a-0", "a-2", "a-3", "b-0"]
    drawn = _select(small, order="draw")
    assert drawn == _select(small, order="draw") and len(drawn) == 4
    assert drawn != ["a-0", "a-1", "a-2", "b-0"]
    assert _select(small, target=2) == ["a-0", "a-1", "b-0", "b-1"]
    small.put("plan", "dart", [])
    assert len(_select(small)) == 7, "no target: every right answer"
    with pytest.raises(Exception, match="expected trial or draw, found size"):
        _select(small, order="size")


@pytest.mark.parametrize(
    ("params", "kept"),
    [
        ({}, ["b", "c", "d"]),
        ({"hi": 0.999}, ["b", "c"]),
        ({"lo": 0.125, "hi": 0.5}, ["c"]),
        ({"lo": 0.5}, ["d"]),
    ],
)
def test_the_band_is_open_below_and_closed_above(tmp_path, params, kept):
    small = SmallLake(tmp_path)
    small.prompts(["a", "b", "c", "d"])
    small.answers(_answers({"a": (0, 8), "b": (1, 7), "c": (4, 4), "d": (8, 0)}))
    found = _select(small, "select/pass_rate_band.sql", **params)
    assert sorted({name[0] for name in found}) == kept
    assert len(found) == sum({"b": 1, "c": 4, "d": 8}[name] for name in kept)


def test_the_variance_of_a_prompt_may_weigh_its_rows(tmp_path):
    small = SmallLake(tmp_path)
    small.prompts(["a", "b", "c", "d"])
    small.answers(_answers({"a": (1, 3), "b": (2, 2), "c": (3, 1), "d": (4, 0)}))
    one = spec(select={"sql": "select/pass_rate_band.sql", "params": {"top": 1, "weight": "variance"}})
    rows = SelectedStep("policy", tmp_path / "spec.yaml").run(small.context(one)).rows["selected", "policy"].to_pylist()
    assert [(row["prompt_id"], row["weight"]) for row in rows] == [("a", 0.1875), ("b", 0.25), ("c", 0.1875), ("d", 0.0)]
