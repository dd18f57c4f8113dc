"""Trainings that build on each other: moments that are carried, a schedule over rounds, and the trunk before a decay."""

import json
import shutil
from datetime import UTC, datetime

import pyarrow as pa
import pytest
import torch

from engine import models
from engine.errors import ModelError, StepError
from engine.step import Model, Ref
from engine.tables import TABLES
from engine.train import checkpoint, keepsakes, past
from engine.train.past import Past
from fakes import spec_of
from train_small import CPU, Events, TrainContext, job, sft, sums, untrained

SAME = {"schedule": "constant", "order": "selected", "optimizer_state": "carried"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


def ordered():
    return [row | {"order": float(i)} for i, row in enumerate(sums())]


def kept(trained, kind="moments"):
    return keepsakes.find(trained.folder, kind, trained.settings[kind]["digest"])


def weights(folder):
    return dict(models.load(folder, CPU)[0].named_parameters())


def furthest(one, two):
    first, second = weights(one.folder), weights(two.folder)
    return max((first[name] - second[name]).abs().max().item() for name in first)


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", "sgd", "adafactor"])
def test_two_trainings_with_carried_moments_are_one(tmp_path, model, optimizer):
    how = SAME | {"optimizer": optimizer, "weight_decay": 0.01}
    whole = sft(job(tmp_path / "whole", model, ordered(), **how))
    first = sft(job(tmp_path / "first", model, ordered()[:12], **how))
    second = job(tmp_path / "second", first.folder, ordered()[12:], **how)
    second.past = Past(moments=kept(first))
    then = sft(second)
    assert first.row_ids + then.row_ids == whole.row_ids
    assert furthest(whole, then) <= 1e-6
    fresh = sft(job(tmp_path / "fresh", first.folder, ordered()[12:], **how))
    assert (furthest(whole, fresh) > 1e-4) == (optimizer != "sgd")  # without momentum it has no state


def test_carried_moments_outlive_a_kill(tmp_path, model):
    first = sft(job(tmp_path / "first", model, **SAME | {"order": "random"}))

    def second(folder, **more):
        one = job(folder, first.folder, epochs=2, optimizer_state="carried", **more)
        one.past = Past(moments=kept(first))
        return one

    whole = sft(second(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        sft(second(tmp_path / "cut", progress=Events(stop_at=6)))
    again = sft(second(tmp_path / "cut"))
    assert again.detail == {"resumed_at": 4}
    assert models.digest(again.folder) == models.digest(whole.folder) and again.settings == whole.settings


def test_moments_that_do_not_fit_are_refused(tmp_path, model):
    first = sft(job(tmp_path / "first", model, max_steps=1, **SAME | {"order": "random"}))
    file = kept(first)
    other = job(tmp_path / "other", model, max_steps=1, optimizer="rmsprop")
    other.past = Past(moments=file)
    with pytest.raises(StepError, match="they are of AdamW, and this round trains with RMSprop"):
        sft(other)
    loaded, _ = models.load(model, CPU)
    loaded.lm_head = torch.nn.Linear(3, 3)
    with pytest.raises(StepError, match="parameters differ, such as lm_head"):
        keepsakes.load_moments(loaded, torch.optim.AdamW(loaded.parameters()), file)
    loaded, _ = models.load(model, CPU)
    loaded.model.norm.weight = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(StepError, match=r"parameter model\.norm\.weight has another shape"):
        keepsakes.load_moments(loaded, torch.optim.AdamW(loaded.parameters()), file)


def test_moments_do_not_enter_the_digest_and_lie_beside_an_equal_model(tmp_path, model):
    context = TrainContext(spec=spec_of(), folder=tmp_path)
    plain = sft(job(tmp_path / "plain", model, max_steps=2))
    carried = sft(job(tmp_path / "carried", model, max_steps=2, optimizer_state="carried"))
    assert models.digest(plain.folder) == models.digest(carried.folder)
    digest, folder = checkpoint.publish(context.home, plain.folder, {})
    assert not keepsakes.of(folder)
    assert checkpoint.publish(context.home, carried.folder, {}) == (digest, folder)
    assert [path.name for path in keepsakes.of(folder)] == [f"moments-{carried.settings['moments']['digest']}"]
    assert keepsakes.file_digest(keepsakes.of(folder)[0]) == carried.settings["moments"]["digest"]


def log_of(trained, metric="learning_rate"):
    return [row["value"] for row in trained.log if row["metric"] == metric]


def test_from_the_trunk_the_schedule_goes_on(tmp_path, model):
    """Two rounds of 6 steps, of which 2 decay: the second starts from the weights and moments of step 4."""
    how = {"schedule": "wsd", "schedule_over": "trunk", "optimizer_state": "carried", "warmup_steps": 3, "log_every": 1}
    how |= {"shape": {"decay_share": 1 / 3}, "order": "selected"}
    first = sft(job(tmp_path / "first", model, ordered(), **how))
    assert log_of(first) == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.005])
    trunk = kept(first, "trunk")
    assert first.settings["trunk"]["steps"] == 4
    cut = sft(job(tmp_path / "cut", model, ordered()[:16], **how | {"schedule": "constant", "schedule_over": "round"}))
    one, two = weights(trunk), weights(cut.folder)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert kept(first).read_bytes() == kept(cut).read_bytes()
    assert models.digest(trunk) != models.digest(first.folder)
    caches = [json.loads((folder / "config.json").read_text())["use_cache"] for folder in (trunk, first.folder)]
    assert caches == [True, True]  # training switches it off
    second = job(tmp_path / "second", trunk, ordered(), **how)
    second.past = Past(steps=4, moments=kept(first))
    then = sft(second)
    assert log_of(then) == pytest.approx([0.01] * 5 + [0.005])
    assert then.settings["trunk"]["steps"] == 8


def test_a_trunk_outlives_a_kill_after_it(tmp_path, model):
    how = {"schedule": "wsd", "schedule_over": "trunk", "shape": {"decay_share": 1 / 3}}
    whole = sft(job(tmp_path / "whole", model, **how))
    with pytest.raises(KeyboardInterrupt):
        sft(job(tmp_path / "late", model, progress=Events(stop_at=6), **how))
    assert (tmp_path / "late" / "state" / "trunk").is_dir()
    late = sft(job(tmp_path / "late", model, **how))
    assert (late.settings, models.digest(late.folder)) == (whole.settings, models.digest(whole.folder))
    with pytest.raises(StepError, match="no weights before the decay"):
        sft(job(tmp_path / "all", model, max_steps=1, **how))


# --- where a round stands, from the lake


def row(round_, digest, steps=10, minute=0, **settings):
    return {
        "experiment": "e", "round": round_, "part": "policy", "digest": digest, "parents": [], "role": "policy", "path": "p",
        "objective": "sft", "rows_expected": 1, "rows_trained": 1, "tokens": 100 * steps, "steps": steps, "seconds": 0.0, "inputs": "[]",
        "settings": json.dumps(settings), "packages": "{}", "attempt": f"{round_}-{minute}",
        "at": datetime(2026, 1, 1, 0, minute, tzinfo=UTC),
    }  # fmt: skip


def context(folder, round_, rows, model=None, **train):
    spec = spec_of(rounds=4, train=[{"init": "previous", "reference": "none", "data": "round"} | train])
    own = TrainContext(spec=spec, folder=folder, round=round_)
    own.models = {"base": Model("base", folder), "policy": model or Model("b", folder)}
    own.tables[Ref("checkpoints", "policy", "history")] = pa.Table.from_pylist(rows, schema=TABLES["checkpoints"].schema)
    return own


def found(own):
    return past.of(own, own.spec.train[0], own.models["policy"])


ROWS = [row(-1, "base", 50), row(0, "a", 10), row(1, "old", 99), row(1, "b", 20, minute=5)]


def test_a_schedule_over_the_experiment_counts_each_round_once_and_not_the_base(tmp_path):
    own = found(context(tmp_path, 2, ROWS, schedule_over="experiment"))
    assert (own.steps, own.tokens, own.rounds, own.decays) == (30, 3000, 2, False)
    assert own.detail == (("schedule_at", 30),)
    train = spec_of(train=[{"init": "base", "reference": "none", "data": "round", "schedule_over": "experiment"}]).train[0]
    assert Ref("checkpoints", "policy", "history") in past.refs(train) and past.settings(train, 4) == {"rounds": 4}


def test_a_round_that_stands_alone_reads_nothing(tmp_path):
    own = context(tmp_path, 2, ROWS, round_peak=0.5)
    assert found(own) == Past(peak=0.25) and not past.refs(own.spec.train[0]) and not past.settings(own.spec.train[0], 4)


def test_moments_are_those_of_the_checkpoint_that_the_round_starts_from(tmp_path):
    rows = [row(0, "a", moments={"digest": "m0"}), row(1, "b", moments={"digest": "m1"})]
    (tmp_path / "moments-m0").write_bytes(b"x")
    held = context(tmp_path, 2, rows, Model("a", tmp_path), optimizer_state="carried")  # round 1 was held: its policy is a
    assert found(held).moments == tmp_path / "moments-m0"
    with pytest.raises(ModelError, match="moments have vanished"):
        found(context(tmp_path, 2, rows, Model("b", tmp_path), optimizer_state="carried"))
    with pytest.raises(StepError, match="checkpoint b, which round 2 starts from, has none: it was trained without it"):
        found(context(tmp_path, 2, ROWS, optimizer_state="carried"))
    with pytest.raises(StepError, match="no checkpoint that role policy trained"):
        found(context(tmp_path, 2, ROWS, Model("merged", tmp_path), optimizer_state="carried"))
    first = found(context(tmp_path, 0, ROWS[:1], Model("base", tmp_path), optimizer_state="carried"))
    assert first.moments is None and dict(first.detail) == {"moments": "fresh: the round starts from the base"}


def test_a_trunk_is_checked_and_gives_the_place_in_the_schedule(tmp_path, model):
    digest = models.digest(model)
    shutil.copytree(model, tmp_path / f"trunk-{digest}")
    rows = [row(0, "a", 10, trunk={"digest": digest, "steps": 7, "tokens": 600})]
    how = {"schedule": "wsd", "schedule_over": "trunk"}
    own = found(context(tmp_path, 1, rows, Model("a", tmp_path), **how))
    assert (own.steps, own.tokens, own.rounds, own.decays, own.model) == (7, 600, 1, True, tmp_path / f"trunk-{digest}")
    config = tmp_path / f"trunk-{digest}" / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(ModelError, match="the trunk's files have changed"):
        found(context(tmp_path, 1, rows, Model("a", tmp_path), **how))


def test_norms_are_those_of_the_last_training(tmp_path):
    own = context(tmp_path, 2, ROWS, schedule="refined")
    entries = [(0, 10, 5.0), (1, 20, 2.0), (1, 10, 3.0), (-1, 10, 9.0)]
    log = [
        {"experiment": "e", "round": r, "part": "policy", "digest": "b", "step": step, "metric": metric, "value": value}
        for r, step, value in entries
        for metric in ("grad_norm", "loss")
    ]
    own.tables[Ref("training_log", "policy", "history")] = pa.Table.from_pylist(log, schema=TABLES["training_log"].schema)
    assert found(own).norms == (3.0, 2.0) and Ref("training_log", "policy", "history") in past.refs(own.spec.train[0])


def test_each_rounds_peak_is_a_share_of_the_one_before(tmp_path, model):
    one = job(tmp_path, model, max_steps=2, schedule="constant", log_every=1, learning_rate=0.01)
    one.past = Past(peak=0.25)
    assert log_of(sft(one)) == pytest.approx([0.0025, 0.0025])
