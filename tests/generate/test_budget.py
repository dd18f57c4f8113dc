"""A plan over the spec's settings, and what a plan may not say."""

import pyarrow as pa
import pytest

from engine.errors import StepError
from engine.generate.asks import batches
from engine.generate.budget import Budget, Target
from engine.spec import Generate

UNTIL = {"right": 2, "cap": 10}


def _of(*rows, **generate):
    plan = [dict(zip(("key", "item_id", "value"), row, strict=True)) for row in rows]
    return Budget.of(Generate(**generate), plan, ["p", "q"], "generations")


def test_without_a_plan_the_spec_holds():
    made = _of(samples=3, temperature=0.7)
    assert (made.samples("p"), made.sampler.temperature, made.planned) == (3, 0.7, {})
    assert _of(until=UNTIL | {"wrong": 1}).target("p") == Target(2, 1, 10)


def test_a_prompts_own_row_is_over_that_of_all():
    made = _of(("samples", None, "4"), ("samples", "q", "6"), ("top_p", None, "0.9"), ("temperature", None, "0"), samples=3)
    assert [made.samples(prompt) for prompt in "pq"] == [4, 6]
    assert (made.sampler.temperature, made.sampler.top_p) == (0.0, 0.9)
    made = _of(("right", "q", "5"), ("cap", None, "7"), ("wrong", "p", "1"), until=UNTIL)
    assert [made.target(prompt) for prompt in "pq"] == [Target(2, 1, 7), Target(5, None, 7)]


@pytest.mark.parametrize(
    ("row", "match"),
    [
        (("temperature", None, "-1"), "temperature of all prompts is -1: expected a number from 0 up"),
        (("temperature", None, '"hot"'), 'is "hot": expected a number'),
        (("temperature", "p", "-1"), "temperature of item 'p' is -1: expected a number from 0 up"),
        (("top_p", None, "0"), "top_p of all prompts is 0: expected a number above 0"),
        (("top_p", None, "1.5"), "at most 1"),
        (("samples", "p", "-1"), "samples of item 'p' is -1: expected a whole number from 0 up"),
        (("samples", "p", "2.5"), "2.5: expected a whole number"),
        (("samples", "p", "true"), "true: expected a whole number"),
        (("samples", "gone", "[1]"), r"samples of item 'gone' is \[1\]"),
        (("right", "p", "2"), "right of item 'p' is 2: generate.until is not set"),
    ],
)
def test_a_wrong_value_names_key_item_and_value(row, match):
    with pytest.raises(StepError, match=match):
        _of(row)


def test_with_until_samples_have_no_meaning_and_counts_start_at_one():
    with pytest.raises(StepError, match="is set and replaces `samples`"):
        _of(("samples", None, "2"), until=UNTIL)
    for key in ("right", "wrong", "cap"):
        with pytest.raises(StepError, match=f"{key} of item 'p' is 0: expected a whole number from 1 up"):
            _of((key, "p", "0"), until=UNTIL)


def test_when_a_prompt_is_done():
    assert not Target(None, None, 3).done(2, 2, 0), "without a target it gets all trials"
    assert Target(None, None, 3).done(3, 0, 3)
    assert Target(2, None, 9).done(2, 2, 0) and not Target(2, None, 9).done(8, 1, 7)
    assert not Target(1, 1, 9).done(5, 5, 0) and Target(1, 1, 9).done(2, 1, 1) and Target(1, 1, 9).done(9, 9, 0)


def test_batches_hold_the_most_answers_or_one_row():
    assert batches([2, 2, 2, 2, 2], 4) == [2, 2, 1]
    assert batches([1, 9, 1, 1, 3], 4) == [1, 1, 2, 1]
    assert batches([], 4) == []


def test_single_prompts_may_have_their_own_temperature():
    made = _of(("temperature", "q", "0.3"), ("top_p", None, "0.9"), ("top_p", "q", "0.5"), ("temperature", "gone", "1"))
    assert (made.sampler.temperature, made.sampler.top_p) == (1.0, 0.9)
    assert made.planned == {"prompts_not_in_round": 1, "top_p": 0.9, "prompts_with_own_sampler": 1}
    asks = made.with_sampler(pa.table({"prompt_id": ["q", "p"]}))
    assert asks.to_pydict() == {"prompt_id": ["q", "p"], "temperature": [0.3, None], "top_p": [0.5, None]}
    assert made.with_sampler(pa.table({"prompt_id": ["p"]})).column_names == ["prompt_id"]


def test_right_answers_are_only_planned_where_some_are_judged():
    plan = [{"key": "right", "item_id": "p", "value": "2"}]
    until = Generate.model_validate({"until": {"agree": 2, "cap": 4}})
    assert Budget.of(until, plan, ["p"], "generations").target("p") == Target(2, None, 4, 2)
    with pytest.raises(StepError, match="right of item 'p' is 2: nothing says which answers are right"):
        Budget.of(until, plan, ["p"], "generations", judged=False)
