"""The step `evaluation` over a real small lake."""

from __future__ import annotations

import pytest

from engine.errors import StepError
from engine.evaluate.steps import EvaluationStep
from engine.tables import check, check_keys
from small_lake import SmallLake, spec


@pytest.fixture
def small(tmp_path):
    lake = SmallLake(tmp_path)
    lake.prompts(["g1", "g2"], "gate", -1, {"g1": "gain", "g2": "loss"})
    lake.prompts(["t1", "t2"], "test", -1, {"t1": "gain"})
    return lake


def measure(small, round_, rows, **evaluate):
    small.answers(rows, part="eval", round_=round_)
    one = spec(evaluate={"samples": 2, "metrics": ["pass@1", "pass@2", "length"]} | evaluate)
    output = EvaluationStep().run(small.context(one, round_))
    table = check("evaluations", output.rows["evaluations", "policy"])
    check_keys("evaluations", table)
    return {(r["suite"], r["metric"], r["topic"]): (r["value"], r["stderr"], r["n"]) for r in table.to_pylist()}


ROWS = [
    ("g1", "a", 1.0),
    ("g1", "b", 0.0),
    ("g2", "cc", 0.0),
    ("g2", "d", 0.0),
    ("t1", "a", 1.0),
    ("t1", "b", 1.0),
    ("t2", "a", 1.0),
    ("t2", "x", 0.0),
]


@pytest.mark.parametrize("round_", [-1, 2])
def test_means_and_errors_by_suite_and_topic(small, round_):
    found = measure(small, round_, ROWS)
    assert found["gate", "pass@1", None] == (0.25, pytest.approx(0.25), 2)
    assert found["gate", "pass@2", None] == (0.5, pytest.approx(0.5), 2)
    assert found["test", "pass@1", None] == (0.75, pytest.approx(0.25), 2)
    assert found["gate", "pass@1", "loss"] == (0.0, None, 1)
    assert found["test", "pass@1", "gain"] == (1.0, None, 1)
    assert ("test", "pass@1", "loss") not in found
    assert found["gate", "length", None] == (1.25, pytest.approx(0.25), 2)


def test_topics_can_be_left_out(small):
    assert {topic for _, _, topic in measure(small, 0, ROWS, by_topic=False)} == {None}


def test_a_lost_answer_or_score_is_an_error(small):
    with pytest.raises(StepError, match=r"expected 2 answers for each of 4 prompts; prompt t2 has 1 \(1 such prompts\)"):
        measure(small, 0, ROWS[:-1])
    with pytest.raises(StepError, match="belongs to prompt p9, which is not held out"):
        measure(small, 0, [*ROWS, ("p9", "a", 1.0)])
    small.answers(ROWS, part="eval")
    small.put("scores", "eval/exact", [{"item_id": "g1-eval-0", "prompt_id": "g1", "scorer": "exact", "value": 1.0}])
    with pytest.raises(StepError, match="answer g1-eval-1 has no row of scorer 'exact'"):
        EvaluationStep().run(small.context(spec(evaluate={"samples": 2, "metrics": ["mean"]})))


def test_active_and_settings(small):
    step = EvaluationStep()
    assert step.active(spec(), -1) and step.active(spec(), 3)
    assert not step.active(spec(prompts={"train": "t.jsonl"}), 0)
    path = small.folder / "spec.yaml"
    first, second = (step.settings(spec(evaluate={"samples": 2, "metrics": [m]}), 0, path) for m in ("pass@1", "pass@2"))
    assert first != second
    assert step.settings(spec(experiment="other"), 0, path) == step.settings(spec(), 5, path)
