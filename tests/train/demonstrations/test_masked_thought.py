"""Masked thought: the ramp, and what is hidden."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine import models
from engine.errors import SpecError
from engine.train import objective, objectives
from engine.train.encode import Encoder
from engine.train.holes import HolesCollator
from engine.train.methods.masked_thought import Params, rate_at
from engine.train.state import Consumed
from engine.train.trainer import Collator
from train_small import Events, job, selected, settings, sums, untrained

HOLE = 2  # no row has it


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def examples(model):
    tokenizer = models.load_tokenizer(model)
    return Encoder(tokenizer, mask="assistant", chat=None, ends=[], limit=64).encode(selected(sums(8)))


def test_the_rate_rises_and_stays():
    rates = [rate_at(step, 300, Params()) for step in (0, 50, 100, 200, 300)]
    assert rates == pytest.approx([0.0, 0.0995, 0.199, 0.398, 0.4], abs=5e-5)
    assert rate_at(10, 10, Params(rate=0.2, warmup=0.5)) == 0.2


def holed(examples, plan, seed=5, held=0, **how):
    consumed = Consumed(plan, [example.row_id for example in examples], held=held)
    return HolesCollator(examples, consumed, 0, hole=HOLE, how=Params(**how), seed=seed, round_=0)


def batches(examples, steps, seed=5, **how):
    plan = [[(i + k) % 8 for k in range(4)] for i in range(steps)]
    holes = holed(examples, plan, seed, **how)
    plain = Collator(examples, plan, 0)
    return [(holes([{"batch": i}]), plain([{"batch": i}])) for i in range(steps)]


def test_only_targets_are_hidden_and_only_in_the_input(examples):
    for holes, plain in batches(examples, 30, rate=0.9):
        assert holes.keys() == plain.keys()
        for name in plain.keys() - {"input_ids"}:
            assert torch.equal(torch.as_tensor(holes[name]), torch.as_tensor(plain[name])), name
        changed = holes["input_ids"] != plain["input_ids"]
        assert not changed[plain["labels"] == -100].any()
        assert (holes["input_ids"][changed] == HOLE).all()


def test_the_share_hidden_is_the_rate(examples):
    made = batches(examples, 900, rate=0.4)
    late = [(h["input_ids"] != p["input_ids"])[p["labels"] != -100].numpy() for h, p in made[650:]]
    hidden = np.concatenate(late)
    assert hidden.mean() == pytest.approx(0.4, abs=4 * (0.24 / len(hidden)) ** 0.5)
    assert not (made[0][0]["input_ids"] != made[0][1]["input_ids"]).any()


def test_a_row_is_hidden_anew_at_every_visit_but_the_same_in_every_run(examples):
    plan = [[3, 1], [0, 2], [1, 3]] * 20
    one, again, seeded = (holed(examples, plan, seed, rate=0.5) for seed in (5, 5, 6))
    first, later = one([{"batch": 45}]), one([{"batch": 48}])
    assert not torch.equal(first["input_ids"], later["input_ids"])
    assert torch.equal(first["input_ids"], again([{"batch": 45}])["input_ids"])
    assert not torch.equal(first["input_ids"], seeded([{"batch": 45}])["input_ids"])
    # the same rows in another order within the batch are hidden alike
    turned = holed(examples, [batch[::-1] if i == 45 else batch for i, batch in enumerate(plan)], rate=0.5)
    assert torch.equal(turned([{"batch": 45}])["input_ids"].flip(0), first["input_ids"])


def test_rows_held_out_are_read_whole_and_do_not_slow_the_ramp(examples):
    plan = [[0, 1, 2, 3]] * 30 + [[4, 5, 6, 7]] * 6
    made, plain = holed(examples, plan, held=6, rate=0.9), Collator(examples, plan, 0)
    for number in range(30, 36):
        assert torch.equal(made([{"batch": number}])["input_ids"], plain([{"batch": number}])["input_ids"])
    shorter = holed(examples, plan[:30], rate=0.9)
    assert torch.equal(made([{"batch": 12}])["input_ids"], shorter([{"batch": 12}])["input_ids"])


def test_without_holes_it_is_sft(tmp_path, model):
    how = {"objective": "masked_thought", "params": {"rate": 0.0}}
    one = job(tmp_path / "a", model, **how)
    plain = objectives.load("sft")().train(job(tmp_path / "b", model))
    assert models.digest(objective(one.settings).train(one).folder) == models.digest(plain.folder)


def test_it_goes_on_after_a_stop(tmp_path, model):
    how = {"objective": "masked_thought", "params": {"rate": 0.4}, "epochs": 2}
    one = job(tmp_path / "whole", model, **how)
    whole = objective(one.settings).train(one)
    one = job(tmp_path / "cut", model, progress=Events(stop_at=6), **how)
    with pytest.raises(KeyboardInterrupt):
        objective(one.settings).train(one)
    one = job(tmp_path / "cut", model, **how)
    again = objective(one.settings).train(one)
    assert again.detail == {"resumed_at": 4} and again.loss == whole.loss
    assert models.digest(again.folder) == models.digest(whole.folder)


def test_the_rate_must_leave_something():
    with pytest.raises(SpecError, match=r"params.rate: Input should be less than 1"):
        objective(settings(objective="masked_thought", params={"rate": 1.0}))
