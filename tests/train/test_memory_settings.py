"""Settings that only change where a training finds room: micro-batches, gradient checkpointing, and what a GPU gets."""

from __future__ import annotations

import pytest
import torch

from engine import models
from engine.errors import SpecError, StepError
from engine.train import objective
from engine.train.micro import Taken, split
from engine.train.settings import arguments
from train_small import CPU, Device, Events, job, settings, sums, untrained
from unpaired_rows import job_of, rows

GPU = Device("cuda:0", 1, "bfloat16", "auto:flash_attention_2")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


def given():
    """Rows that every objective on demonstrations can train on."""
    found = rows(24, anchor=-4.0, ref_logps=-20.0, ref_kl_logps=-26.0)
    for i, row in enumerate(found):
        row["extra"] += [("half", float(i % 2)), ("pair", float(i // 2)), ("lambda", 0.3)]
        row["weight"] = 1.0 + i % 3
    return found


def weights(folder) -> list[torch.Tensor]:
    return list(models.load(folder, CPU)[0].parameters())


IN_EVERY_RUN, WITH_SLOW_TESTS = ("sft", "superhf", "kto"), ("poft", "c_rlft", "masked_thought", "sftmix")


@pytest.mark.parametrize("name", [*IN_EVERY_RUN, *(pytest.param(name, marks=pytest.mark.slow) for name in WITH_SLOW_TESTS)])
def test_a_batch_in_parts_is_the_batch(tmp_path, model, name):
    """Losses, gradient norms and every other number of the log, and the weights after six steps."""
    found = {}
    for micro in (None, 2):
        one = job_of(tmp_path / str(micro), model, name, given(), micro_batch=micro, batch_size=8, epochs=2, learning_rate=1e-3)
        found[micro] = objective(one.settings).train(one)
    assert found[2].row_ids == found[None].row_ids and found[2].steps == 6
    for a, b in zip(found[None].log, found[2].log, strict=True):
        assert (a["step"], a["metric"]) == (b["step"], b["metric"])
        assert b["value"] == pytest.approx(a["value"], rel=2e-4, abs=2e-5)
    for a, b in zip(weights(found[None].folder), weights(found[2].folder), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_no_forward_pass_sees_more_rows_than_asked(tmp_path, model, monkeypatch):
    from engine.train.trainer import WeightedTrainer

    seen, real = [], WeightedTrainer.compute_loss

    def watched(self, model, inputs, *args, **more):
        seen.append(tuple(inputs["input_ids"].shape))
        return real(self, model, inputs, *args, **more)

    monkeypatch.setattr(WeightedTrainer, "compute_loss", watched)
    one = job(tmp_path, model, sums(10), micro_batch=3, batch_size=10)
    objective(one.settings).train(one)
    assert [rows for rows, _ in seen] == [3, 3, 3, 1]
    assert len({width for _, width in seen}) > 1  # padding of the longest row is not carried along


def test_a_batch_in_parts_goes_on_after_a_stop(tmp_path, model):
    whole = job(tmp_path / "whole", model, micro_batch=3)
    expected = objective(whole.settings).train(whole)
    cut = job(tmp_path / "cut", model, micro_batch=3, progress=Events(stop_at=6))
    with pytest.raises(KeyboardInterrupt):
        objective(cut.settings).train(cut)
    again = job(tmp_path / "cut", model, micro_batch=3)
    trained = objective(again.settings).train(again)
    assert trained.detail == {"resumed_at": 4} and trained.log == expected.log
    assert models.digest(trained.folder) == models.digest(expected.folder)


def test_a_part_whose_loss_is_not_finite_names_the_rows_of_its_batch(tmp_path, model):
    broken = tmp_path / "broken"
    loaded, tokenizer = models.load(model, CPU)
    with torch.no_grad():
        loaded.model.embed_tokens.weight.fill_(float("inf"))
    loaded.save_pretrained(broken)
    tokenizer.save_pretrained(broken)
    one = job(tmp_path, broken, micro_batch=1)
    with pytest.raises(StepError, match="training step 1 of 6: the loss is nan") as error:
        objective(one.settings).train(one)
    assert error.value.message.count(", ") == 3


def test_the_parts_of_pairs_keep_their_sides():
    ids = torch.arange(12).reshape(6, 2)
    batch = {"batch": 4, "input_ids": ids, "attention_mask": torch.ones(6, 2), "numbers": {"x": torch.tensor([1.0, 2, 3])}, "kl": 0.5}
    batch["attention_mask"][[0, 1, 3, 4], 1] = 0
    one, two = split(batch, 3, 2)
    assert one["input_ids"].tolist() == [[0], [2], [6], [8]] and two["input_ids"].tolist() == [[4, 5], [10, 11]]
    assert (one["numbers"]["x"].tolist(), two["numbers"]["x"].tolist(), two["batch"], one["kl"]) == ([1, 2], [3], 4, 0.5)
    with pytest.raises(ValueError, match="input_ids has 6 entries, which is no multiple of the 4 rows"):
        split(batch, 4, 2)


def test_what_parts_give_adds_up():
    taken = Taken(3)
    assert taken.add(0.5, {"kl": 1.0}) is None and taken.add(0.25, {}) is None
    assert taken.add(0.25, {"kl": 2.0, "x": 1.0}) == {"loss": 1.0, "kl": 3.0, "x": 1.0}


def test_objectives_on_whole_batches_refuse_parts(monkeypatch):
    from engine.train import objectives

    monkeypatch.setattr(objectives.load("sft"), "parts", False)
    with pytest.raises(SpecError, match=r"train.micro_batch: the loss of the objective sft is not a sum over rows"):
        objective(settings(micro_batch=2))


def test_gradient_checkpointing_changes_no_weight(tmp_path, model):
    found = []
    for name, more in (("off", {}), ("on", {"gradient_checkpointing": True})):
        one = job(tmp_path / name, model, **more)
        found.append(models.digest(objective(one.settings).train(one).folder))
    assert found[0] == found[1]


def test_gradient_checkpointing_reaches_the_model(tmp_path, model, monkeypatch):
    from engine.train.planned import Planned

    seen, real = [], Planned.training_step

    def watched(self, model, *args, **more):
        seen.append(model.is_gradient_checkpointing)
        return real(self, model, *args, **more)

    monkeypatch.setattr(Planned, "training_step", watched)
    for name, wanted in (("a", True), ("b", "auto"), ("c", False)):
        one = job(tmp_path / name, model, max_steps=1, gradient_checkpointing=wanted)
        objective(one.settings).train(one)
    assert seen == [True, False, False]


def test_what_a_gpu_gets_and_a_cpu_does_not(tmp_path):
    def made(device, **more):
        return arguments(settings(**more), device, seed=1, state=tmp_path)

    names = ("use_cpu", "bf16", "fp16", "gradient_checkpointing")
    assert [made(GPU)[name] for name in names] == [False, True, False, True]
    assert [made(CPU)[name] for name in names] == [True, False, False, False]
    assert [made(Device("cuda", 1, "float16"))[name] for name in names] == [False, False, True, True]
    assert made(GPU, gradient_checkpointing=False)["gradient_checkpointing"] is False
    assert made(CPU, gradient_checkpointing=True)["gradient_checkpointing"] is True
    with pytest.raises(StepError, match="float16 training needs a GPU"):
        made(Device("cpu", 1, "float16"))


def test_a_training_on_a_gpu_asks_for_flash_attention_where_the_device_has_it(tmp_path, model, monkeypatch):
    """`Running` loads the model with the device that the job has; its attention is what transformers is asked for."""
    from engine import attention
    from engine.train import running

    asked = []

    class Stopped(Exception):
        pass

    def load(path, device, *args, **more):
        with monkeypatch.context() as patch:
            patch.setattr(attention, "_refusal", lambda *_: None)
            asked.append((device, attention.arguments(None, path, device, False)))
        raise Stopped

    monkeypatch.setattr(running.models, "load", load)
    with pytest.raises(Stopped):
        running.Running(job(tmp_path, model, device=GPU))
    ((device, more),) = asked
    assert (device.device, device.dtype) == ("cuda:0", "float32")  # weights that train; bf16 is autocast
    assert more == {"attn_implementation": "flash_attention_2"}
