"""What a training says it did is what it did: every planned row once, no batch that broke it, no half of two runs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import killed_training
from engine import models
from engine.errors import StepError
from engine.train import objectives
from engine.train.methods.dpo import Dpo
from engine.train.order import plan
from engine.train.running import Running
from pairs_small import fit, pairs, pairs_job
from train_small import Events, job, sft, untrained

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


def planned(rows, epochs):
    ids = [row["row_id"] for row in rows]
    batches = plan(ids, batch_size=4, epochs=epochs, max_steps=None, seed=5, round_=0)
    return [[ids[i] for i in batch] for batch in batches]


def test_pairs_are_consumed_as_planned(tmp_path, model):
    rows = pairs(14)
    trained = fit(pairs_job(tmp_path, model, rows, epochs=2))
    batches = planned(rows, 2)
    assert trained.row_ids == [row for batch in batches for row in batch]
    assert (trained.rows_expected, trained.rows_trained, trained.steps) == (28, 28, 8) and [len(b) for b in batches[:4]] == [4, 4, 4, 2]
    assert {row["metric"] for row in trained.log} >= {"loss", "grad_norm", "clipped", "learning_rate", "rewards/margins", "kl"}
    assert [row["step"] for row in trained.log if row["metric"] == "loss"] == list(range(1, 9))


@pytest.mark.parametrize("given", [[0, 1, 3], [0, 1, 2, 2], [0, 2, 1, 3]], ids=["skips", "repeats", "swaps"])
@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_a_trainer_that_leaves_the_plan_is_found_out(tmp_path, model, monkeypatch, kind, given):
    from datasets import Dataset

    common = Running._common
    monkeypatch.setattr(Running, "_common", lambda *args: common(*args) | {"train_dataset": Dataset.from_dict({"batch": given})})
    with pytest.raises(StepError, match=r"expected 4 steps over 16 rows in the planned order, found \d steps over 1[26] rows"):
        fit(pairs_job(tmp_path, model)) if kind == "dpo" else sft(job(tmp_path, model, max_steps=4))
    assert not (tmp_path / "out").exists()


def jump(monkeypatch, step, factor):
    """The loss of DPO's step `step` (from 1) is `factor` times what it should be."""
    loss, calls = Dpo.loss, []

    def jumping(self, values):
        calls.append(1)
        return loss(self, values) * (factor if len(calls) == step else 1.0)

    monkeypatch.setattr(Dpo, "loss", jumping)


@pytest.mark.parametrize(("factor", "said"), [(float("nan"), "the loss is nan"), (100.0, "more than 20 times that of the first steps")])
def test_a_batch_that_breaks_the_training_is_named(tmp_path, model, monkeypatch, factor, said):
    jump(monkeypatch, 12, factor)
    with pytest.raises(StepError, match=rf"training step 12 of 16: .*{said}") as error:
        fit(pairs_job(tmp_path, model, epochs=4))
    assert str(error.value).count(", ".join(planned(pairs(), 4)[11])) == 1
    assert not (tmp_path / "out").exists()


def test_how_far_a_loss_may_rise_is_a_setting(tmp_path, model, monkeypatch):
    jump(monkeypatch, 12, 100.0)
    assert fit(pairs_job(tmp_path / "a", model, epochs=4, diverge=None)).steps == 16
    jump(monkeypatch, 12, 4.0)
    assert fit(pairs_job(tmp_path / "b", model, epochs=4)).steps == 16
    jump(monkeypatch, 12, 4.0)
    with pytest.raises(StepError, match=r"training step 12 of 16: .*more than 1\.5 times"):
        fit(pairs_job(tmp_path / "c", model, epochs=4, diverge=1.5))


def test_what_was_usual_outlives_a_kill(tmp_path, model, monkeypatch):
    one = pairs_job(tmp_path, model, epochs=4, save_every=4)
    one.progress = Events(stop_at=11)
    with pytest.raises(KeyboardInterrupt):
        fit(one)
    jump(monkeypatch, 4, 100.0)  # resumed at step 8: the twelfth
    with pytest.raises(StepError, match=r"training step 12 of 16: .*more than 20 times"):
        fit(pairs_job(tmp_path, model, epochs=4, save_every=4))


def test_weights_that_fly_away_stop_the_step(tmp_path, model):
    with pytest.raises(StepError, match=r"training step \d+ of 16: the (loss|gradient norm) is (nan|inf|.*more than)"):
        fit(pairs_job(tmp_path, model, epochs=4, learning_rate=1e30))


# SIGKILL at random moments


def start(folder, model, name):
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "killed_training.py"), str(folder), str(model), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"},
    )
    begun = process.stdout.readline()
    assert begun.startswith("began at "), process.stderr.read()[-2000:]
    return process, int(begun.split()[-1])


def killed(folder, model, name, kills, seed):
    """Kills `kills` runs at random moments after their first step may have begun, then lets one finish; the steps they began at."""
    torch.set_num_threads(1)
    begun = time.monotonic()
    undisturbed = fit(killed_training.job(folder / "whole", model, name))
    seconds, dice, starts = time.monotonic() - begun, random.Random(seed), []
    for _ in range(kills):
        process, at = start(folder / "cut", model, name)
        starts.append(at)
        time.sleep(dice.uniform(0.0, seconds / kills * 1.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process, at = start(folder / "cut", model, name)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors[-2000:]
    found = json.loads((folder / "cut" / "facts.json").read_text())
    assert found == json.loads(json.dumps(killed_training.facts(undisturbed)))
    assert len(found["rows"]) == 4 * killed_training.STEPS
    assert models.digest(folder / "cut" / "out") == found["digest"]
    assert not list((folder / "cut" / "state" / ".partial").glob("*"))
    return [*starts, at]


def test_a_killed_training_on_pairs_ends_as_one_that_was_not(tmp_path, model):
    starts = killed(tmp_path, model, "dpo", 2, seed=1)
    assert starts == sorted(starts)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({"dpo", "kto", "reward_model"} & set(objectives.names())))
def test_ten_kills(tmp_path, model, name):
    starts = killed(tmp_path, model, name, 10, seed=7)
    assert starts == sorted(starts) and starts[-1] > 0
