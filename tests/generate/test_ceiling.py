"""The ceiling of response tokens: never exceeded, nearly used up, and the same answers whatever the batches, the order or a crash."""

import random

import pyarrow as pa
import pytest

import stand_in
from engine.errors import SpecError, StepError
from engine.generate.ceiling import check
from engine.generate.steps import steps
from engine.score import Verdict, Verifier, verifiers
from engine.step import Ref
from generate_tiny import Fake, prompts, spec
from stand_in import Script

TRAIN = Ref("prompts", "train")


@verifiers.register("even_number")
class EvenNumber(Verifier):
    """Right where the text ends with an even digit."""

    references = False

    def verify(self, answer):
        right = int(answer.response[-1]) % 2 == 0
        return Verdict(float(right), "right" if right else "wrong")


@pytest.fixture(autouse=True)
def script(monkeypatch):
    made = Script()
    monkeypatch.setattr(stand_in, "script", made)
    return made


def _fake(folder, n=12, plan=None, score=(), params=None, **generate):
    made = {"backend": "stand_in", "samples": 4, "max_tokens": 10, "batch": 7, "params": params or {}} | generate
    more = {"plan": [{"name": "own", "sql": "plan.sql"}]} if plan is not None else {}
    made |= {"plan": "own"} if plan is not None else {}
    ctx = Fake(spec(generate=made, score=list(score), **more), folder, {TRAIN: prompts([f"q{i}" for i in range(n)])})
    if plan is not None:
        ctx.parts[Ref("plan", "own")] = pa.Table.from_pylist(
            plan, schema=pa.schema([(name, pa.string()) for name in ("key", "item_id", "value")])
        )
    return ctx


def _run(ctx):
    return steps(ctx.spec)[0].run(ctx)


def _rows(output):
    return output.rows["generations", "rollout"]


def _pairs(output):
    rows = _rows(output)
    return set(zip(rows["prompt_id"].to_pylist(), rows["sample"].to_pylist(), strict=True))


def _lengths(seed):
    """A length of 1 to max_tokens for each question and number."""
    return lambda step, question, number, most: (f"{question} {number}", random.Random(f"{seed}/{question}/{number}").randint(1, most))


@pytest.mark.parametrize("seed", range(12))
def test_what_is_asked_is_the_longest_safe_prefix_of_the_turns(tmp_path, script, seed):
    dice = random.Random(seed)
    n, samples, most = dice.randint(1, 20), dice.randint(1, 5), dice.randint(1, 30)
    script.answer = _lengths(seed)
    whole = _rows(_run(_fake(tmp_path / "whole", n, samples=samples, max_tokens=most))).to_pylist()
    ceiling = dice.randint(most, n * samples * most + 5)
    ctx = _fake(tmp_path / "own", n, samples=samples, max_tokens=most, ceiling=ceiling)
    output = _run(ctx)
    order = {prompt: place for place, prompt in enumerate(ctx.parts[TRAIN]["prompt_id"].to_pylist())}
    turns = sorted(whole, key=lambda row: (row["sample"], order[row["prompt_id"]]))
    kept = _pairs(output)
    spent = sum(row["response_tokens"] for row in turns[: len(kept)])
    assert kept == {(row["prompt_id"], row["sample"]) for row in turns[: len(kept)]}, "first answers of all before any second one"
    assert spent <= ceiling
    assert len(kept) == len(turns) or spent + most > ceiling, "another one might not have fitted"
    assert output.detail["ceiling"] == {"tokens": ceiling, "spent": spent}
    left = turns[len(kept) :]
    assert output.detail.get("answers_not_asked", 0) == len(left)
    assert output.detail.get("prompts_not_asked", 0) == sum(row["sample"] == 0 for row in left)
    assert len(left) == 0 or f"{len(left)} answers are not asked" in ctx.progress.notes[-1]


def test_batches_scheduling_and_the_backends_order_change_nothing(tmp_path, script):
    script.answer = _lengths(3)
    found = []
    for number, (batch, schedules, backwards) in enumerate([(1, False, False), (7, False, True), (500, False, False), (7, True, True)]):
        script.backwards = backwards
        output = _run(_fake(tmp_path / str(number), batch=batch, params={"schedules": schedules}, ceiling=150))
        found.append(_rows(output).drop_columns(["seconds"]))
    assert 0 < found[0].num_rows < 48
    assert all(one.equals(found[0]) for one in found[1:])


def test_every_piece_fits_before_it_is_asked(tmp_path, script):
    script.answer = _lengths(5)
    output = _run(_fake(tmp_path, params={"schedules": True}, ceiling=100))
    tokens = {(row["prompt_id"], row["sample"]): row["response_tokens"] for row in _rows(output).to_pylist()}
    spent = 0
    for piece in script.log:
        assert spent + 10 * len(piece) <= 100
        spent += sum(tokens[pair] for pair in piece)
    assert len(script.log) > 2 and 90 < spent <= 100


def test_a_crash_at_any_answer_ends_the_same(tmp_path, script):
    script.answer = _lengths(7)
    whole = _run(_fake(tmp_path / "whole", ceiling=60))
    for stop in range(_rows(whole).num_rows):
        ctx = _fake(tmp_path / f"at{stop}", ceiling=60)
        script.dies_after = stop
        with pytest.raises(KeyboardInterrupt):
            _run(ctx)
        script.dies_after = None
        script.log.clear()
        again = _run(ctx)
        assert _rows(again).drop_columns(["seconds"]).equals(_rows(whole).drop_columns(["seconds"])) and again.detail == whole.detail
        assert sum(map(len, script.log)) == _rows(whole).num_rows - stop, "finished answers are not asked again"


def test_actors_share_it_in_the_order_of_the_spec(tmp_path, script):
    script.answer = lambda step, question, number, most: (f"{question} {number}", 5)
    actors = [{"name": "first", "samples": 2}, {"name": "policy"}, {"name": "last"}]
    output = _run(_fake(tmp_path, 4, actors=actors, ceiling=75))
    by_actor = [row["actor"] for row in _rows(output).to_pylist()]
    # 8 answers of 5; 35 tokens are left, and an answer may have 10: the seventh finds 5
    assert [by_actor.count(name) for name in ("first", "policy", "last")] == [8, 6, 0]
    told = output.detail["actors"]
    assert told["first"] == {}
    assert told["policy"] == {"answers_not_asked": 10}
    assert told["last"] == {"prompts_not_asked": 4, "answers_not_asked": 16}
    assert output.detail["ceiling"] == {"tokens": 75, "spent": 70}


def test_answers_from_elsewhere_cost_nothing(tmp_path, script):
    script.answer = lambda step, question, number, most: (f"{question} {number}", 10)
    (tmp_path / "answers.jsonl").write_text("".join(f'{{"prompt": "q{i}", "response": "r{i}"}}\n' for i in range(4)))
    actors = [{"name": "policy"}, {"name": "other", "backend": "recorded", "params": {"path": "answers.jsonl"}, "samples": 1}]
    output = _run(_fake(tmp_path, 4, actors=actors, ceiling=30))
    by_actor = [row["actor"] for row in _rows(output).to_pylist()]
    assert (by_actor.count("policy"), len(by_actor)) == (3, 7)


def test_waves_stop_at_it(tmp_path, script):
    script.answer = lambda step, question, number, most: (f"{question} {number}", 5)
    until = {"right": 3, "cap": 9, "wave": 2}
    whole = _run(_fake(tmp_path / "whole", 4, until=until, score=[{"verifier": "even_number"}]))
    assert (whole.detail["trials"], whole.detail["waves"], _rows(whole).num_rows) == (24, 3, 24)
    ctx = _fake(tmp_path / "own", 4, until=until, score=[{"verifier": "even_number"}], ceiling=70)
    output = _run(ctx)
    # waves of 8 answers: 40 tokens, then 30 are left: 3, 1 and 1 more
    assert [row["sample"] for row in _rows(output).to_pylist()] == [0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 0, 1, 2]
    detail = output.detail
    assert (detail["trials"], detail["waves"], detail["right"], detail["deficit_right"]) == (13, 2, 8, 4)
    assert (detail["answers_not_asked"], detail["ceiling"]) == (3, {"tokens": 70, "spent": 65})
    assert output.rows["scores", "until/even_number"].num_rows == 13


def test_a_plan_of_single_prompts_holds_under_it(tmp_path, script):
    script.answer = lambda step, question, number, most: (f"{question} {number}", 5)
    ids = prompts([f"q{i}" for i in range(3)])["prompt_id"].to_pylist()
    plan = [{"key": "samples", "item_id": prompt, "value": str(n)} for prompt, n in zip(ids, (0, 6, 2), strict=True)]
    output = _run(_fake(tmp_path, 3, plan, ceiling=35))
    counts = [_rows(output)["prompt_id"].to_pylist().count(prompt) for prompt in ids]
    assert counts == [0, 4, 2]
    assert (output.detail["prompts_not_asked"], output.detail["answers_not_asked"]) == (1, 2)


def test_what_the_backend_must_say(tmp_path, script):
    script.answer = lambda step, question, number, most: ("x", None)
    with pytest.raises(StepError, match="does not say how many tokens it has"):
        _run(_fake(tmp_path / "uncounted", ceiling=50))
    script.finish_reason = "error"
    output = _run(_fake(tmp_path / "failed", ceiling=50))
    assert (_rows(output).num_rows, output.detail["ceiling"]["spent"]) == (5, 50), "a failed request may have used all of it"
    script.answer = lambda step, question, number, most: ("x", most + 1)
    with pytest.raises(StepError, match="has 11 tokens, at most 10 were asked for"):
        _run(_fake(tmp_path / "longer", ceiling=50))


def test_nothing_fits(tmp_path):
    with pytest.raises(StepError, match=r"no answer fits under generate\.ceiling, 9"):
        _run(_fake(tmp_path, ceiling=9))
    with pytest.raises(SpecError, match="expected at least max_tokens, 10, found 9"):
        check(_fake(tmp_path, ceiling=9).spec)
    check(_fake(tmp_path, ceiling=10).spec)
    with pytest.raises(SpecError, match="cost no tokens"):
        check(_fake(tmp_path, backend="recorded", params={"path": "x"}, ceiling=50).spec)


def test_it_enters_the_fingerprint(tmp_path):
    def settings(**generate):
        made = _fake(tmp_path, **generate).spec
        return steps(made)[0].settings(made, 0, tmp_path / "spec.yaml")

    assert settings(ceiling=50) != settings(ceiling=51) != settings()
    assert "ceiling" not in settings()
