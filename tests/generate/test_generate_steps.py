import json

import pytest

from engine import tables
from engine.errors import SpecError
from engine.generate.steps import check, steps
from engine.step import BASE, Ref
from generate_tiny import Fake, prompts, save, spec, torn

TRAIN, GATE, TEST = Ref("prompts", "train"), Ref("prompts", "gate", "base"), Ref("prompts", "test", "base")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "policy")


def _fake(folder, model, **parts):
    made = spec(**parts)
    texts = [f"q{i}: {'ab' * (i % 5)}" for i in range(10)]
    parts = {TRAIN: prompts(texts), GATE: prompts(["g1", "g2"], "gate", BASE), TEST: prompts(["t1"], "test", BASE)}
    return Fake(made, folder, parts, model)


def _steps(made):
    rollout, measured = steps(made)
    assert (rollout.name, measured.name) == ("generations", "eval_generations")
    return rollout, measured


def test_generations_are_whole_ordered_and_fit_the_table(tmp_path, model):
    ctx = _fake(tmp_path, model)
    rollout, _ = _steps(ctx.spec)
    output = rollout.run(ctx)
    rows = tables.check("generations", output.rows["generations", "rollout"])
    tables.check_keys("generations", rows)
    asked = ctx.parts[TRAIN]["prompt_id"].to_pylist()
    assert list(zip(rows["prompt_id"].to_pylist(), rows["sample"].to_pylist(), strict=True)) == [(p, k) for p in asked for k in range(3)]
    assert output.rows_in == 10
    assert rollout.writes() == [("generations", "rollout")]
    assert rollout.on_device


def test_a_killed_step_goes_on_and_ends_the_same(tmp_path, model):
    ctx = _fake(tmp_path / "a", model)
    rollout, _ = _steps(ctx.spec)
    whole = rollout.run(ctx).rows["generations", "rollout"]
    torn(ctx.journal, 12)
    ctx.progress = type(ctx.progress)()
    again = rollout.run(ctx).rows["generations", "rollout"]
    assert ctx.progress.rows == whole.num_rows - 12
    assert again.drop_columns(["seconds"]).equals(whole.drop_columns(["seconds"]))


def test_evaluation_answers_both_splits_with_the_checkpoint(tmp_path, model):
    ctx = _fake(tmp_path, model, evaluate={"samples": 2, "temperature": 0.0, "max_tokens": 5})
    _, measured = _steps(ctx.spec)
    rows = measured.run(ctx).rows["generations", "eval"].to_pylist()
    expected = [p for ref in (GATE, TEST) for p in ctx.parts[ref]["prompt_id"].to_pylist()]
    assert [r["prompt_id"] for r in rows] == [p for p in expected for _ in range(2)]
    assert all(r["seed"] is None and r["temperature"] == 0 and r["response_tokens"] <= 5 for r in rows)
    assert rows[0]["response"] == rows[1]["response"]
    assert rows[0]["generation_id"] != rows[1]["generation_id"]


def test_what_the_steps_read():
    rollout, measured = _steps(spec())
    assert rollout.reads(spec(), 0) == [Ref("policy"), TRAIN]
    assert measured.reads(spec(), BASE) == [Ref("checkpoints", "policy"), GATE, TEST]
    assert (rollout.active(spec(), BASE), rollout.active(spec(), 0)) == (False, True)
    assert measured.active(spec(), BASE)
    assert measured.active(spec(), 2)
    only_test = spec(prompts={"train": "t.jsonl", "test": "e.jsonl"})
    assert measured.reads(only_test, 0) == [Ref("checkpoints", "policy"), TEST]
    assert not measured.active(spec(prompts={"train": "t.jsonl"}), 0)


def test_fingerprint_settings_hold_what_changes_rows_and_no_more(tmp_path):
    rollout, measured = _steps(spec())
    place = tmp_path / "spec.yaml"
    base = rollout.settings(spec(), 0, place)
    json.dumps(base)
    same = [spec(experiment="other"), spec(generate={"samples": 3, "max_tokens": 12, "batch": 99})]
    other = [
        spec(seed=6),
        spec(generate={"samples": 4, "max_tokens": 12}),
        spec(generate={"samples": 3, "max_tokens": 12, "top_k": 3}),
        spec(generate={"samples": 3, "max_tokens": 12, "chat": False}),
    ]
    assert all(rollout.settings(s, 0, place) == base for s in same)
    assert all(rollout.settings(s, 0, place) != base for s in other)
    assert rollout.settings(spec(), 1, place) != base
    greedy = measured.settings(spec(), 0, place)
    assert measured.settings(spec(seed=6), 1, place) == greedy


def _recorded(folder, **more):
    with (folder / "answers.jsonl").open("w") as file:
        for i in range(10):
            print(json.dumps({"prompt": f"q{i}: {'ab' * (i % 5)}", "response": ["x", "y", f"z{i}"]}), file=file)
    return {"generate": {"backend": "recorded", "samples": 3, "batch": 6, "params": {"path": "answers.jsonl"} | more}}


def test_recorded_answers_need_no_model(tmp_path):
    ctx = _fake(tmp_path, None, **_recorded(tmp_path))
    rollout, measured = _steps(ctx.spec)
    assert rollout.reads(ctx.spec, 0) == [TRAIN]
    assert not rollout.on_device
    rows = rollout.run(ctx).rows["generations", "rollout"]
    assert rows["response"].to_pylist() == [text for i in range(10) for text in ("x", "y", f"z{i}")]
    assert rollout.settings(ctx.spec, 0, ctx.spec_path) == rollout.settings(ctx.spec, 1, ctx.spec_path)
    # A checkpoint is measured by its own answers.
    assert measured.settings(ctx.spec, 0, ctx.spec_path)["backend"] == "transformers"
    assert measured.on_device


def test_skipped_prompts_are_said_aloud(tmp_path):
    ctx = _fake(tmp_path, None, **_recorded(tmp_path, missing="skip"))
    ctx.parts[TRAIN] = prompts(["q0: ", "unknown", "q1: ab"])
    output = _steps(ctx.spec)[0].run(ctx)
    assert output.rows["generations", "rollout"].num_rows == 6
    assert (output.rows_in, output.detail["prompts_skipped"]) == (3, 1)
    assert ctx.progress.notes[0] == "generations: prompts skipped: 1"


def test_wrong_backends_and_settings_stop_before_any_work(tmp_path):
    place = tmp_path / "spec.yaml"
    check(spec(), place)
    with pytest.raises(SpecError, match="did you mean 'transformers'"):
        check(spec(generate={"backend": "transformer"}), place)
    with pytest.raises(SpecError, match=r"evaluate\.params\.x: .*no such setting"):
        check(spec(evaluate={"params": {"x": 1}}), place)
    with pytest.raises(SpecError, match=r"generate\.params\.x"):
        check(spec(rounds=2, stages=[{"rounds": "1-", "generate": {"params": {"x": 1}}}]), place)
