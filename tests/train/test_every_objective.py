"""Every objective that reads `selected` trains a real step on the tiny model, repeats itself, and goes on after a stop."""

from __future__ import annotations

import math

import pytest

from engine import models
from engine.train import objective, objectives
from train_small import Events, untrained
from unpaired_rows import job_of, rows

NUMBERS = {"anchor": -4.0, "ref_logps": -20.0, "ref_kl_logps": -22.0, "lambda": 0.3}
ELSEWHERE = {"reward_regression", "sami"}  # a head: tests/train/heads; matrices of rows: tests/train/test_sami.py
NAMES = [name for name in objectives.names() if objectives.load(name).reads == "selected" and name not in ELSEWHERE]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


def given(n):
    found = rows(n, **NUMBERS)
    for i, row in enumerate(found):
        row["extra"] = [*row["extra"], ("half", float(i % 2)), ("pair", float(i // 2))]
    return found


def test_the_registry_has_them():
    assert {"sft", "superhf", "poft", "c_rlft", "kto", "masked_thought", "sftmix"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_one_step_moves_the_weights_and_repeats_itself(tmp_path, model, name):
    found = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        one = job_of(folder, model, name, given(4), max_steps=1)
        found.append(objective(one.settings).train(one))
    one, two = found
    assert (one.steps, one.rows_trained, one.rows_expected) == (1, 4, 4)
    assert math.isfinite(one.loss) and {row["metric"] for row in one.log} >= {"loss", "grad_norm", "learning_rate"}
    assert models.digest(one.folder) == models.digest(two.folder) != models.digest(model)
    assert one.log == two.log


@pytest.mark.parametrize("name", NAMES)
def test_a_training_that_was_stopped_gives_the_same_weights_and_log(tmp_path, model, name):
    whole = job_of(tmp_path / "whole", model, name, given(24))
    expected = objective(whole.settings).train(whole)
    cut = job_of(tmp_path / "cut", model, name, given(24))
    cut.progress = Events(stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        objective(cut.settings).train(cut)
    again = job_of(tmp_path / "cut", model, name, given(24))
    trained = objective(again.settings).train(again)
    assert trained.detail == {"resumed_at": 4}
    assert (trained.row_ids, trained.loss, trained.log) == (expected.row_ids, expected.loss, expected.log)
    assert models.digest(trained.folder) == models.digest(expected.folder)
