import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from engine import models, tables
from engine.errors import SpecError, StepError
from engine.step import Model, Ref
from engine.train import checkpoint
from engine.train.steps import CheckpointStep, steps
from fakes import spec_of
from train_small import TINY, TrainContext, files, row, selected, settings, sums, untrained

TRAIN = settings(epochs=1).model_dump()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


def context(tmp_path, spec, round_=0, rows=None, model=None) -> TrainContext:
    ctx = TrainContext(spec, tmp_path, round_, {Ref("selected", "policy"): selected(sums() if rows is None else rows)})
    if model:
        ctx.models = {which: Model(models.digest(model), model) for which in ("policy", "base")}
    return ctx


def based(**more):
    train = {k: v for k, v in TRAIN.items() if k in type(settings()).__mro__[1].model_fields}
    return spec_of(models={}, base={"data": "base.jsonl", "model": TINY.model_dump(), "train": train}, **more)


def check(output) -> dict[str, pa.Table]:
    for (name, _), rows in output.rows.items():
        tables.check_keys(name, tables.check(name, rows))
    return {name: rows for (name, _), rows in output.rows.items()}


def test_a_round_writes_a_checkpoint_its_card_and_what_it_consumed(tmp_path, model):
    ctx = context(tmp_path, spec_of(train=[TRAIN]), model=model)
    made = check(CheckpointStep("policy").run(ctx))
    found = made["checkpoints"].to_pylist()[0]
    folder = ctx.home.checkpoints / found["digest"]
    assert found["path"] == f"checkpoints/{found['digest']}"
    assert checkpoint.locate(ctx.home, found["path"]) == folder
    assert models.digest(folder) == found["digest"] != models.digest(model)
    assert found["parents"] == [models.digest(model)]
    assert (found["rows_expected"], found["rows_trained"], found["steps"], found["objective"]) == (24, 24, 6, "sft")
    card = json.loads((folder / "rondo.json").read_text())
    same = ("digest", "rows_trained", "loss", "tokens")
    assert [card[k] for k in same] == [found[k] for k in same]
    assert card["inputs"] == ctx.inputs() == json.loads(found["inputs"])
    assert {"torch", "trl", "transformers", "peft"} <= set(card["packages"])
    consumed = made["trained_rows"].to_pydict()
    assert consumed["position"] == list(range(24))
    assert set(consumed["row_id"]) == {r["row_id"] for r in sums()}
    assert set(consumed["digest"]) == {found["digest"]}
    assert [p.name for p in ctx.home.checkpoints.iterdir()] == [found["digest"]]


def test_the_same_training_in_another_home_gives_the_same_digest_and_an_equal_folder_is_kept(tmp_path, model):
    spec = spec_of(train=[TRAIN])
    first = context(tmp_path / "a", spec, model=model)
    one = check(CheckpointStep("policy").run(first))["checkpoints"].to_pylist()[0]
    before = files(first.home.checkpoints)
    again = context(tmp_path / "a", spec, model=model)
    again.attempt = "a1"
    two = check(CheckpointStep("policy").run(again))["checkpoints"].to_pylist()[0]
    other = check(CheckpointStep("policy").run(context(tmp_path / "b", spec_of(train=[TRAIN], experiment="x"), model=model)))["checkpoints"]
    assert {one["digest"], two["digest"], other.to_pylist()[0]["digest"]} == {one["digest"]}
    assert files(first.home.checkpoints) == before


def test_a_damaged_folder_of_the_same_digest_is_replaced(tmp_path, model):
    spec = spec_of(train=[TRAIN])
    ctx = context(tmp_path, spec, model=model)
    digest = check(CheckpointStep("policy").run(ctx))["checkpoints"]["digest"][0].as_py()
    (ctx.home.checkpoints / digest / "model.safetensors").write_bytes(b"broken")
    CheckpointStep("policy").run(context(tmp_path, spec, model=model))
    assert models.digest(ctx.home.checkpoints / digest) == digest


def test_the_base_trains_a_tiny_model(tmp_path):
    ctx = context(tmp_path, based(), round_=-1)
    found = check(CheckpointStep("policy").run(ctx))["checkpoints"].to_pylist()[0]
    assert (found["parents"], found["rows_trained"], found["objective"]) == ([], 24, "sft")
    loaded, tokenizer = models.load(ctx.home.checkpoints / found["digest"], ctx.device)
    assert loaded.config.hidden_size == TINY.hidden_size
    assert len(tokenizer("42")["input_ids"]) == 1


def test_the_base_can_be_imported_and_is_not_copied(tmp_path, model):
    spec = spec_of(models={"policy": str(model)}, train=[TRAIN])
    ctx = context(tmp_path, spec, round_=-1)
    made = check(CheckpointStep("policy").run(ctx))
    found = made["checkpoints"].to_pylist()[0]
    assert (found["digest"], found["path"], found["objective"]) == (models.digest(model), str(model), "imported")
    assert (found["rows_trained"], found["loss"], made["trained_rows"].num_rows) == (0, None, 0)
    assert checkpoint.locate(ctx.home, found["path"]) == model
    assert list(ctx.home.checkpoints.glob("*")) == []


def test_nothing_selected(tmp_path, model):
    with pytest.raises(StepError, match=r"checkpoint of round 0: no row to train on for role policy(.|\n)*score threshold"):
        CheckpointStep("policy").run(context(tmp_path, spec_of(train=[TRAIN]), rows=[], model=model))


def test_a_broken_row_leaves_no_checkpoint(tmp_path, model):
    ctx = context(tmp_path, spec_of(train=[TRAIN]), rows=[*sums(), row("mute", [("user", "Add 1 and 2.")])], model=model)
    with pytest.raises(StepError, match="row mute"):
        CheckpointStep("policy").run(ctx)
    assert list(ctx.home.checkpoints.glob("*")) == []


def test_which_steps_and_parts_a_spec_has():
    spec = spec_of(train=[TRAIN | {"init": "previous"}, TRAIN | {"role": "judge", "init": "base"}])
    policy, judge = steps(spec)
    assert (policy.name, judge.name) == ("checkpoint", "checkpoint_judge")
    assert judge.writes() == [("checkpoints", "judge"), ("trained_rows", "judge"), ("training_log", "judge")]
    assert [policy.active(spec, -1), judge.active(spec, -1), judge.active(spec, 0)] == [True, False, True]
    assert policy.reads(spec, 0) == [Ref("selected", "policy"), Ref("policy")]
    assert judge.reads(spec, 0) == [Ref("selected", "judge"), Ref("checkpoints", "policy", "base")]
    assert policy.reads(spec, -1) == []
    assert policy.reads(based(), -1) == [Ref("selected", "policy")]


def test_what_enters_the_fingerprint(tmp_path, model):
    step, path = CheckpointStep("policy"), tmp_path / "spec.yaml"

    def of(round_=0, **more):
        return step.settings(spec_of(**{"train": [TRAIN], **more}), round_, path)

    assert of() == of(train=[TRAIN | {"save_every": 7}]) == of(experiment="other") == of(generate={"batch": 3})
    for other in (of(1), of(seed=1), of(train=[TRAIN | {"learning_rate": 0.5}]), of(generate={"chat": True})):
        assert other != of()
    assert of(-1, models={"policy": str(model)}) == {"imported": models.digest(model)}
    assert of(-1, models={"policy": "some/model"}) == {"imported": "some/model"}
    json.dumps([of(), step.settings(based(), -1, path)])


def test_params_and_methods_that_do_not_exist(tmp_path):
    step = CheckpointStep("policy")
    with pytest.raises(SpecError, match=r"train\.params\.beta: .*objective sft"):
        step.settings(spec_of(train=[TRAIN | {"params": {"beta": 1}}]), 0, tmp_path / "spec.yaml")
    with pytest.raises(SpecError, match="no train method 'sftt'"):
        step.settings(spec_of(train=[TRAIN | {"objective": "sftt"}]), 0, tmp_path / "spec.yaml")


def test_planning_loads_no_trainer():
    code = (
        "import sys; from engine.train import objectives; import engine.train.steps; objectives.load('sft'); "
        "print([m for m in ('torch', 'transformers', 'trl', 'peft', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
