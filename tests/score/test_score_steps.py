"""The steps: every generation scored once, equal answers verified once, scores combined by SQL."""

from collections import Counter
from pathlib import Path

import pytest

from engine import operators, tables
from engine.errors import SpecError, StepError
from engine.score import Verdict, Verifier, check, verifiers
from engine.score.combine import check_combine
from engine.score.steps import Combine, Score, steps
from engine.step import BASE, Ref
from fakes import FakeContext, generations, prompts_table, spec_of

ROLLOUT, TRAIN = Ref("generations", "rollout"), Ref("prompts", "train")
calls: Counter[tuple] = Counter()


@verifiers.register("counting")
class Counting(Verifier):
    """Right when the answer is the reference; counts what it is asked."""

    def verify(self, answer):
        calls[answer[:3]] += 1
        same = answer.response == answer.reference
        return Verdict(float(same), "right" if same else "wrong")


@verifiers.register("lengths")
class Lengths(Verifier):
    """A number without a verdict; sees the prompt, not the reference."""

    references, prompts, batch = False, True, 2

    def verify(self, answer):
        assert answer.reference is None
        return Verdict(len(answer.response) + len(answer.prompt) / 100, None, None)


@pytest.fixture(autouse=True)
def _only_here():
    yield
    calls.clear()


def context(folder, scorers, combine=None):
    spec = spec_of(score=[{"verifier": s} if isinstance(s, str) else s for s in scorers], combine=combine)
    ctx = FakeContext(spec, folder)
    ctx.tables[TRAIN] = prompts_table({"p1": "2", "p2": "2", "p3": "3"})
    ctx.tables[ROLLOUT] = generations([("p1", "2"), ("p1", "5"), ("p2", "2"), ("p3", "2"), ("p3", "3"), ("p1", "2")])
    return ctx


def run_all(ctx):
    for number, step in enumerate(s for s in steps(ctx.spec) if s.of == "rollout"):
        inner = FakeContext(ctx.spec, ctx.folder / str(number), ctx.round, ctx.tables)
        out = step.run(inner)
        ctx.tables[Ref("scores", step.part)] = out.rows["scores", step.part]
    return out.rows["scores", "rollout/score"].to_pylist()


def test_every_generation_has_a_score_and_equal_ones_are_verified_once(tmp_path):
    ctx = context(tmp_path, ["counting"])
    out = Score("rollout", "counting").run(ctx)
    rows = out.rows["scores", "rollout/counting"]
    tables.check_keys("scores", rows)
    assert rows["item_id"].to_pylist() == [f"g{i}" for i in range(6)]
    assert rows["value"].to_pylist() == [1, 0, 1, 0, 1, 1]
    assert rows["prompt_id"].to_pylist() == ["p1", "p1", "p2", "p3", "p3", "p1"]
    assert set(rows["item_kind"].to_pylist()) == {"generation"} and len(set(rows["scorer_version"].to_pylist())) == 1
    assert calls == {("2", "2", None): 1, ("5", "2", None): 1, ("2", "3", None): 1, ("3", "3", None): 1}
    assert (out.rows_in, out.detail) == (6, {"scored_once": 4, "cached": 0})


def test_a_verifier_that_sees_the_prompt_is_asked_for_each(tmp_path):
    ctx = context(tmp_path, ["lengths"])
    out = Score("rollout", "lengths").run(ctx)
    assert out.detail == {"scored_once": 5, "cached": 0}
    assert out.rows["scores", "rollout/lengths"]["verdict"].null_count == 6


def test_a_killed_step_goes_on_from_its_journal(tmp_path, monkeypatch):
    whole = Score("rollout", "lengths").run(context(tmp_path / "whole", ["lengths"])).rows["scores", "rollout/lengths"]
    append = operators.Journal.append

    def dies(self, name, batch):
        append(self, name, batch)
        raise KeyboardInterrupt

    ctx = context(tmp_path / "killed", ["lengths"])
    monkeypatch.setattr(operators.Journal, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        Score("rollout", "lengths").run(ctx)
    monkeypatch.undo()
    again = Score("rollout", "lengths").run(ctx).rows["scores", "rollout/lengths"]
    assert again.drop_columns("seconds") == whole.drop_columns("seconds")


def test_combined_score_and_verdict(tmp_path):
    ctx = context(tmp_path, ["counting", {"verifier": "regex", "params": {"pattern": "[23]"}}, "lengths"], "counting * regex + 0 * lengths")
    rows = run_all(ctx)
    assert [row["value"] for row in rows] == [1, 0, 1, 0, 1, 1]
    assert [row["verdict"] for row in rows] == ["right", "wrong", "right", "wrong", "right", "right"]
    assert {row["scorer"] for row in rows} == {"score"}
    other = context(tmp_path / "other", [{"verifier": "regex", "params": {"pattern": "[35]"}}, "counting"], "greatest(regex, counting)")
    rows = run_all(other)
    assert [row["value"] for row in rows] == [1, 1, 1, 0, 1, 1]
    assert [row["verdict"] for row in rows] == ["wrong", "wrong", "wrong", "wrong", "right", "wrong"]
    assert rows[0]["detail"] == "no match of '[35]'"


def test_one_scorer_needs_no_expression(tmp_path):
    assert [row["value"] for row in run_all(context(tmp_path, ["counting"]))] == [1, 0, 1, 0, 1, 1]


def test_held_out_answers_meet_both_held_out_parts(tmp_path):
    ctx = context(tmp_path, ["counting"])
    ctx.round = BASE
    ctx.tables = {
        Ref("prompts", "gate", "base"): prompts_table({"p1": "2"}),
        Ref("prompts", "test", "base"): prompts_table({"p3": "3"}),
        Ref("generations", "eval"): generations([("p1", "2"), ("p3", "2")]),
    }
    step = Score("eval", "counting")
    assert step.name == "eval_scores_counting"
    assert step.active(ctx.spec, BASE) and not Score("rollout", "counting").active(ctx.spec, BASE)
    assert step.run(ctx).rows["scores", "eval/counting"]["value"].to_pylist() == [1, 0]
    ctx.tables.pop(Ref("generations", "eval"))
    empty = FakeContext(ctx.spec, tmp_path / "none", BASE, ctx.tables)
    assert step.run(empty).rows["scores", "eval/counting"].num_rows == 0


def test_a_lost_prompt_or_score_stops_the_step(tmp_path):
    ctx = context(tmp_path, ["counting", "lengths"], "counting")
    ctx.tables[ROLLOUT] = generations([("p1", "2"), ("p9", "2")])
    with pytest.raises(StepError, match="g1 answers prompt p9"):
        Score("rollout", "counting").run(ctx)
    scores = Score("rollout", "counting").run(context(tmp_path / "b", ["counting"])).rows["scores", "rollout/counting"]
    ctx.tables[Ref("scores", "rollout/counting")], ctx.tables[Ref("scores", "rollout/lengths")] = scores, scores.slice(1)
    with pytest.raises(StepError, match="counting scored 6 generations, lengths 5"):
        Combine("rollout").run(ctx)


def test_a_combined_value_that_is_no_number(tmp_path):
    with pytest.raises(StepError, match="not finite for generation g0"):
        run_all(context(tmp_path, ["counting", "lengths"], "counting * 'inf'::double + 0 * lengths"))


@pytest.mark.parametrize(
    ("expression", "message", "hint"),
    [
        ("maths * steps", "no scorer 'maths'", "'math'"),
        ("math *", "yntax", ""),
        ("math > 0", "expected a number, found BOOLEAN", "::DOUBLE"),
        ("'x' || math", "expected a number, found VARCHAR", ""),
        ("[math]", "expected a number, found DOUBLE", ""),
        ("max(math)", "combine", ""),
        ("math), (steps", "one expression", ""),
        ("math + random()", "something else at every run", ""),
    ],
)
def test_wrong_expressions(expression, message, hint):
    with pytest.raises(SpecError, match=message) as caught:
        check_combine(expression, ["math", "steps"])
    assert hint in caught.value.hint


def test_right_expressions():
    for expression in ("math * steps", "case when math = 1 then 2 else 0 end", "greatest(math, 0.5) -- note", "round(math)::int"):
        check_combine(expression, ["math", "steps"])


def test_settings_follow_method_and_parameters(tmp_path):
    def settings(**entry):
        spec = spec_of(score=[{"verifier": "math"} | entry])
        return steps(spec)[0].settings(spec, 0, Path("spec.yaml"))

    assert settings() == settings(params={"timeout": 5.0})
    assert settings() != settings(params={"timeout": 6})
    assert settings() != settings(name="other")
    assert steps(spec_of()) == []


@pytest.mark.parametrize("name", ["actor", "logprob", "verdict", "round"])
def test_a_scorer_may_not_hide_a_column_of_scored(name: str) -> None:
    spec = spec_of(score=[{"verifier": "regex", "name": name, "params": {"pattern": "x"}}])
    with pytest.raises(SpecError, match="already has a column of this name"):
        check(spec)
