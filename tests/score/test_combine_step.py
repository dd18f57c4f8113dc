"""The step of the combined score: it reads what its expression names, keeps answers without a score, and selects leave them out."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from engine import sqlfile, tables
from engine.errors import StepError
from engine.evaluate.metrics import Metrics
from engine.score.steps import Combine, steps
from engine.score.waves import Waves
from engine.score.waves import settings as judge
from engine.step import Ref
from fakes import FakeContext, spec_of
from small_lake import SmallLake

TRAIN, ROLLOUT = Ref("prompts", "train"), Ref("generations", "rollout")
MATH, FORMAT = {"verifier": "exact", "name": "math"}, {"verifier": "regex", "name": "format", "params": {"pattern": "="}}
ANSWERS = [("p1", "é=2", 7, "stop", -1.5), ("p1", "3", 9, "length", -2.0), ("p2", "4", 1, "stop", -0.5)]


def context(folder, combine, **parts):
    ctx = FakeContext(spec_of(score=[MATH, FORMAT], combine=combine, **parts), folder)
    prompts = [("p1", "2", 0.25, '{"weight": 3}'), ("p2", "4", None, None)]
    rows = [
        {"prompt_id": p, "split": "train", "messages": [{"role": "user", "content": p}], "reference": r, "difficulty": d, "meta": m}
        for p, r, d, m in prompts
    ]
    ctx.tables[TRAIN] = tables.check("prompts", pa.Table.from_pylist(rows))
    own = {"sample": 0, "turn": 0, "depth": 0, "is_terminal": True, "actor": "policy", "model": "m"}
    rows = [
        own
        | {"generation_id": f"g{i}", "content_id": f"c{i}", "prompt_id": p, "response": said, "response_tokens": n, "finish_reason": why}
        | {"logprob": logprob}
        for i, (p, said, n, why, logprob) in enumerate(ANSWERS)
    ]
    ctx.tables[ROLLOUT] = tables.check("generations", pa.Table.from_pylist(rows))
    return ctx


def scored(ctx):
    """The combined rows, and the step's output."""
    for number, step in enumerate(s for s in steps(ctx.spec) if s.of == "rollout"):
        out = step.run(FakeContext(ctx.spec, ctx.folder / str(number), ctx.round, ctx.tables))
        ctx.tables[Ref("scores", step.part)] = out.rows["scores", step.part]
    return out.rows["scores", "rollout/score"].to_pylist(), out


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        ("math - 0.01 * response_tokens", [-0.07, -0.09, 0.99]),
        ("0 * math + characters", [3.0, 1.0, 1.0]),
        ("stop_penalised(math, finish_reason, 6)", [0.0, -6.0, 1.0]),
        ("format - logprob", [2.5, 2.0, 0.5]),
        ("coalesce(difficulty, 1) + math", [0.25, 0.25, 2.0]),
        ("format * coalesce((meta ->> '$.weight')::double, 1)", [3.0, 0.0, 0.0]),
        ("if(verdict_math = 'right', 1, 0) + if(detail_format like 'no match%', 10, 0)", [0.0, 10.0, 11.0]),
        ("rank_within(response_tokens, prompt_id)", [0.0, 1.0, 0.0]),
    ],
)
def test_what_stands_beside_the_scorers(tmp_path, combine, expected):
    rows, out = scored(context(tmp_path, combine))
    assert [row["value"] for row in rows] == pytest.approx(expected)
    assert [row["item_id"] for row in rows] == ["g0", "g1", "g2"] and out.rows_in == 3
    assert out.detail == {"without_score": 0}


def test_only_what_is_named_is_read():
    def reads(combine, part="rollout"):
        spec = spec_of(score=[MATH, FORMAT], combine=combine)
        found = Combine(part).reads(spec, 0)
        assert found[:2] == [Ref("scores", f"{part}/math"), Ref("scores", f"{part}/format")]
        return found[2:]

    assert reads("math + format") == reads("if(verdict_math = 'right', format, 0) + rank_within(math, prompt_id)") == []
    assert reads("math - length_bonus(response_tokens)") == [ROLLOUT]
    assert reads("math * difficulty") == [TRAIN]
    assert reads("math * difficulty - characters", "eval") == [
        Ref("generations", "eval"),
        Ref("prompts", "gate", "base"),
        Ref("prompts", "test", "base"),
    ]


def test_fingerprints_follow_the_expression_and_its_macros():
    def settings(combine):
        return Combine("rollout").settings(spec_of(score=[MATH, FORMAT], combine=combine), 0, Path("spec.yaml"))

    assert settings("math + format") == {"combine": "math + format", "scorers": ["math", "format"]}
    assert set(settings("clipped(math, 0, 1)")["macros"]) == {"clipped"}
    assert judge(spec_of(score=[MATH], combine="clipped(math, 0, 1)"))["macros"] == settings("clipped(math, 0, 1)")["macros"]


def test_an_answer_without_a_score_is_kept_and_counted(tmp_path):
    rows, out = scored(context(tmp_path, "nullif(math, 0) + format"))
    assert [row["value"] for row in rows] == [None, None, 1.0]
    assert [row["verdict"] for row in rows] == ["wrong", "wrong", "wrong"]
    assert out.detail == {"without_score": 2} and out.rows_in == 3


def test_a_prompt_that_is_not_there_stops_the_step(tmp_path):
    ctx = context(tmp_path, "math * coalesce(difficulty, 1)")
    scored(ctx)
    ctx.tables[TRAIN] = ctx.tables[TRAIN].slice(1)
    with pytest.raises(StepError, match="3 answers in, 1 with their prompt; g0"):
        Combine("rollout").run(ctx)


def test_a_text_that_is_no_number_stops_the_step(tmp_path):
    with pytest.raises(StepError, match="Could not convert string 'p1' to DOUBLE"):
        scored(context(tmp_path, "math + prompt_id::double"))


@pytest.mark.parametrize(
    "combine", ["math - 0.01 * response_tokens", "if(verdict_math = 'right', difficulty, characters)", "math + format"]
)
def test_waves_give_the_score_that_the_steps_will_write(tmp_path, combine):
    ctx = context(tmp_path, combine)
    waves = Waves(ctx, ctx.tables[TRAIN], "generations")
    try:
        found = waves(ctx.tables[ROLLOUT].slice(0, 2), tmp_path / "one") + waves(ctx.tables[ROLLOUT].slice(2), tmp_path / "two")
    finally:
        waves.close()
    assert found == [row["value"] for row in scored(ctx)[0]]


@pytest.fixture(scope="module")
def some_null(tmp_path_factory):
    """p1 has a right and a wrong answer after one without a score, p2 only answers without one, p3 one of each."""
    small = SmallLake(tmp_path_factory.mktemp("lake"))
    small.prompts(["p1", "p2", "p3"], topics={"p1": "odd", "p2": "odd", "p3": "even"})
    answers = [
        ("p1", "a", None),
        ("p1", "b", 1.0),
        ("p1", "c", 0.0),
        ("p2", "d", None),
        ("p2", "e", None),
        ("p3", "f", 1.0),
        ("p3", "g", None),
    ]
    small.answers(answers)
    return small


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("raft", {"top": 9, "min_score": -1e9}),
        ("raft_global", {"keep": 1, "min_score": -1e9}),
        ("rft", {"min_score": -1e9}),
        ("most_frequent_right", {"min_score": -1e9}),
        ("dart", {"min_score": -1e9}),
        ("bstar", {"threshold": -1e9, "keep": 9}),
        ("eva", {"share": 1.0}),
        ("pass_rate_band", {"lo": 0, "hi": 1, "min_score": -1e9}),
        ("stratified", {"by": "topic", "share": 1.0, "min_score": -1e9}),
        ("curriculum", {"min_score": -1e9}),
        ("cyclical", {"first": 1.0, "min_score": -1e9}),
    ],
)
def test_an_answer_without_a_score_is_never_selected(some_null, name, params):
    file = sqlfile.read(sqlfile.find(f"select/{name}"))
    given = {key: value for key, value in params.items() if key in file.parameters}
    rows = some_null.session(0).table(file.text, file.bind(given, {"seed": 1, "round": 0, "rounds": 3})).to_pylist()
    chosen = {row["generation_id"] for row in rows}
    assert chosen and chosen <= {"p1-1", "p1-2", "p3-0"}, chosen
    assert {row["prompt_id"] for row in rows} <= {"p1", "p3"}


@pytest.mark.parametrize("name", ["best@2", "top@2-1"])
def test_an_answer_without_a_score_is_not_the_best_of_a_metric(name):
    rows = [(0, None, "right"), (1, -2.0, "wrong")]
    own = [{"prompt_id": "p", "generation_id": f"g{i}", "sample": i, "score": score, "verdict": said} for i, score, said in rows]
    assert Metrics(pa.Table.from_pylist(own)).values(name) == {"p": 0}
