"""Metrics against numbers worked out by hand, and what a wrong metric says."""

from __future__ import annotations

import math
from itertools import combinations

import pyarrow as pa
import pytest

from engine.errors import QueryError, SpecError
from engine.evaluate import answers_schema, check, parse
from engine.evaluate.metrics import Metrics, summary
from engine.ids import content_id
from small_lake import spec


def table(*prompts):
    """Each prompt is a list of (response, score) or (response, score, verdict)."""
    rows = []
    for p, given in enumerate(prompts):
        for i, (response, score, *verdict) in enumerate(given):
            rows.append(
                {
                    "prompt_id": f"p{p}",
                    "suite": "test",
                    "sample": i,
                    "generation_id": f"p{p}-{i}",
                    "content_id": content_id(response),
                    "response": response,
                    "response_tokens": len(response),
                    "finish_reason": "length" if response.endswith("+") else "stop",
                    "score": score,
                    "verdict": verdict[0] if verdict else "right" if score else "wrong",
                }
            )
    return pa.Table.from_pylist(rows, schema=answers_schema([]))


def one(metric, *answers):
    return Metrics(table(list(answers))).values(metric)["p0"]


def right(c, n):
    return [(f"a{i}", float(i < c)) for i in range(n)]


@pytest.mark.parametrize(
    ("n", "c", "k", "value"),
    [
        (10, 3, 1, 0.3),
        (10, 3, 5, 0.9167),
        (10, 0, 5, 0.0),
        (10, 10, 1, 1.0),
        (5, 2, 4, 1.0),
        (1, 1, 1, 1.0),
    ],
)
def test_pass_at_k_known_values(n, c, k, value):
    assert one(f"pass@{k}", *right(c, n)) == pytest.approx(value, abs=5e-5)


def test_pass_at_k_equals_counting_every_draw():
    for n in range(1, 8):
        for c in range(n + 1):
            for k in range(1, n + 1):
                draws = list(combinations([i < c for i in range(n)], k))
                assert one(f"pass@{k}", *right(c, n)) == pytest.approx(sum(any(d) for d in draws) / len(draws), abs=1e-12)


@pytest.mark.parametrize(
    ("answers", "value"),
    [
        ([("Answer: 4", 1.0), ("so Answer: 4.0", 1.0), ("Answer: 5", 0.0), ("#### 5", 0.0)], 0.5),
        ([("a", 1.0), ("a", 1.0), ("a", 1.0), ("b", 0.0)], 1.0),
        ([("a", 1.0), ("b", 0.0), ("b", 0.0), ("c", 1.0)], 0.0),
        ([("a", 1.0), ("b", 0.0), ("c", 0.0), ("d", 0.0)], 0.25),
        ([("4", 1.0), ("junk", 0.0, "unparseable"), ("junk", 0.0, "unparseable"), ("junk", 0.0, "unparseable")], 1.0),
        ([("junk", 0.0, "unparseable")] * 4, 0.0),
        (
            [
                (r"\boxed{\frac{1}{2}}.", 1.0),
                (r"first \boxed{3} then \boxed{\frac{1}{2}}", 1.0),
                (r"\boxed{3}", 0.0),
                ("Answer: 1\nAnswer: 7", 0.0),
            ],
            1.0,
        ),
        ([("Answer: 1,000", 1.0), ("#### 1000", 1.0), ("Answer: 1000.", 1.0), ("Answer: 10", 0.0)], 1.0),
        ([("Answer: 6", 1.0), ("wrong steps. Answer: 6", 0.0), ("Answer: 6", 1.0), ("Answer: 7", 0.0)], 2 / 3),
    ],
)
def test_majority_votes(answers, value):
    assert one("maj@4", *answers) == pytest.approx(value, abs=1e-12)


def test_small_metrics():
    given = [("abc+", 1.0), ("abc+", 1.0), ("x", 0.25), ("y", 0.0, "unparseable")]
    assert one("mean", *given) == pytest.approx(0.5625)
    assert one("length", *given) == pytest.approx(2.5)
    assert one("unparseable", *given) == 0.25
    assert one("truncated", *given) == 0.5
    assert one("distinct", *given) == 0.75
    assert one("mean", ("a", None), ("b", 1.0)) == 0.5


def test_summary_is_mean_and_standard_error():
    assert summary([1.0, 0.0, 1.0, None, 1.0]) == (0.75, pytest.approx(0.25), 4)
    assert summary([0.5]) == (0.5, None, 1)
    assert summary([None]) == (None, None, 0)
    values = [0.1 * i for i in range(1000)]
    assert summary(values) == summary(values[::-1])
    assert math.isclose(summary(values)[0], 49.95)


@pytest.mark.parametrize(
    ("n", "c", "k", "s", "value"), [(8, 2, 4, 2, 0.214286), (8, 2, 4, 1, 0.785714), (8, 8, 4, 4, 1.0), (8, 3, 4, 4, 0.0)]
)
def test_at_least_s_of_k_are_right(n, c, k, s, value):
    assert one(f"pass_s@{k}-{s}", *right(c, n)) == pytest.approx(value, abs=1e-6)


def test_at_least_s_of_k_equals_counting_every_draw():
    for n, c in [(6, 0), (6, 3), (7, 5), (5, 5)]:
        for k in range(1, n + 1):
            draws = [sum(i < c for i in drawn) for drawn in combinations(range(n), k)]
            for s in range(1, k + 1):
                expected = sum(found >= s for found in draws) / len(draws)
                assert one(f"pass_s@{k}-{s}", *right(c, n)) == pytest.approx(expected, abs=1e-12)


def test_the_best_rewards_are_right_or_not():
    answers = [("a", 0.4, "wrong"), ("b", 1.2, "right"), ("c", 1.1, "right"), ("d", 1.3, "wrong"), ("e", 1.2, "wrong")]
    assert [one(f"best@{k}", *answers) for k in (1, 2, 3, 4, 5)] == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert [one(f"top@{k}-2", *answers) for k in (2, 3, 4, 5)] == [0.0, 1.0, 0.0, 0.0]
    assert one("top@3-1", *answers) == one("best@3", *answers)
    assert one("best@2", ("a", 1.0, None), ("b", 0.5, None)) == 1.0, "without verdicts a score of 1 is right"


@pytest.mark.parametrize(
    ("answers", "value"),
    [
        (["$a$ $a$ $b$"], 2 / 3),
        (["<<1+2=3>> so 3", "<<1+2=3>> or \\[x=3\\]"], 2 / 3),
        (["$a$", "$b$"], 1.0),
        (["no equation", "none"], None),
    ],
)
def test_distinct_equations(answers, value):
    assert one("equations", *((text, 1.0) for text in answers)) == value


def test_parse_names():
    file, given = parse("pass@4")
    assert (file.path.name, given) == ("pass.sql", {"k": 4})
    assert parse("pass_s@4-2")[1] == {"k": 4, "s": 2}
    assert parse("mean")[1] == {}
    for name, message in {
        "pas@1": "did you mean 'pass'",
        "pass": "needs a k",
        "pass@0": "needs a k",
        "mean@2": "takes no k",
        "pass@4-2": "takes no s",
        "pass_s@4": "needs a s of 1",
        "Pass@x": "no metric",
    }.items():
        with pytest.raises(SpecError, match=message):
            parse(name)


@pytest.mark.parametrize(
    ("evaluate", "score", "message"),
    [
        ({"samples": 2, "metrics": ["pass@4"]}, None, "metric 'pass@4': k is 4 but a prompt has 2 samples"),
        ({"samples": 8, "metrics": ["maj@4"]}, None, "k is 4 but a prompt has 8 samples; they must be equal"),
        ({"metrics": ["meen"]}, None, "did you mean 'mean'"),
        ({"metrics": ["mean"]}, [], "needs scores, and the spec has no scorer"),
    ],
)
def test_check_refuses_metrics_that_cannot_be_measured(evaluate, score, message):
    more = {} if score is None else {"score": score}
    with pytest.raises(SpecError, match=message):
        check(spec(evaluate=evaluate, **more))


def test_check_accepts_all_shipped_metrics():
    metrics = ["pass@1", "pass@4", "maj@4", "mean", "length", "unparseable", "truncated", "distinct"]
    metrics += ["pass_s@4-2", "best@4", "top@4-2", "equations"]
    check(spec(evaluate={"samples": 4, "metrics": metrics}))
    check(spec(evaluate={"metrics": ["length", "distinct"]}, score=[]))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select prompt_id from answers group by 1", "expected the columns prompt_id and value"),
        ("select prompt_id, 1 as value from answers", "expected one row for each of 2 prompts, found 4; see prompt 'p"),
        ("select prompt_id, 1 as value from answers where prompt_id = 'p0' and sample = 0", "see prompt 'p1'"),
        ("select prompt_id, 'high' as value from answers group by 1", "expected numbers, found"),
        ("select prompt_id, 'inf'::double as value from answers group by 1", "has the value inf"),
        ("select prompt_id, scoer as value from answers", "scoer"),
    ],
)
def test_wrong_metric_names_file_and_cause(tmp_path, sql, message):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "mine.sql").write_text(sql)
    with pytest.raises(QueryError, match=message) as error:
        Metrics(table(right(1, 2), right(1, 2)), tmp_path / "spec.yaml").values("mine")
    assert "mine.sql" in str(error.value)
