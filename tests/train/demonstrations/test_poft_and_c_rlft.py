"""The formulas of poft and c_rlft, and that their trainer computes them."""

from __future__ import annotations

import math

import pytest
import torch

from engine.errors import StepError
from engine.train import objective, objectives
from engine.train.rowwise import RowValues
from train_small import untrained
from unpaired_rows import gradients, job_of, logged, rows, trainer_of


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


def values(mean, tokens=10.0, **numbers):
    logps = (torch.tensor(mean, dtype=torch.float64) * tokens).requires_grad_()
    wide = {name: torch.full_like(logps, value).detach() for name, value in numbers.items()}
    return logps, RowValues(logps, torch.full_like(logps, tokens).detach(), numbers=wide)


def test_poft_by_its_vectors():
    anchor = math.fsum((-0.9, -1.0, -1.4)) / 3
    logps, given = values([-1.1, -1.6], anchor=anchor)
    loss = objectives.load("poft")().loss(given)
    assert loss.tolist() == pytest.approx([0.6931472, 0.974077], abs=2e-6)
    loss.sum().backward()
    # cross-entropy's gradient is -1 for each token's share: what is left is the weight
    assert (-logps.grad * 10).tolist() == pytest.approx([0.5, 0.6224593], abs=2e-6)


def test_poft_is_cross_entropy_where_the_anchor_is_far_above():
    """The weight goes to 1, and never beyond it; far below the anchor it goes to 0."""
    logps, given = values([-2.0, -5.0], anchor=30.0)
    objectives.load("poft")().loss(given).sum().backward()
    assert (-logps.grad * 10).tolist() == pytest.approx([1.0, 1.0], abs=1e-9)
    logps, given = values([-2.0], anchor=-40.0)
    objectives.load("poft")().loss(given).sum().backward()
    assert logps.grad.item() == pytest.approx(0.0, abs=1e-9)


def test_poft_params_enter():
    method = objectives.load("poft")
    _, given = values([-1.6], anchor=-1.1)
    loss = method(method.Params(beta=2.0, gamma=0.3)).loss(given)
    assert loss.item() == pytest.approx(math.log1p(math.exp(2.0 * 0.5 - 0.3)))


def test_c_rlft_by_its_vector():
    _, given = values([-2.0, -3.0])
    loss = objectives.load("c_rlft")().loss(given)
    weights = torch.tensor([1.0, 0.1], dtype=torch.float64)
    assert ((loss * weights).sum() / weights.sum()).item() == pytest.approx(2.0909091, abs=2e-6)


def test_c_rlft_divides_a_batch_by_the_sum_of_its_weights(tmp_path, model):
    """Every row counts by its weight, however long it is, and doubling all weights changes nothing."""
    given = rows(4)
    for row, weight in zip(given, (1.0, 0.1, 0.1, 1.0), strict=True):
        row["weight"] = weight
    trainer, batch = trainer_of(job_of(tmp_path, model, "c_rlft", given))
    said = trainer.values(trainer.model, batch())[0]
    expected = -(said.mean * torch.tensor([1.0, 0.1, 0.1, 1.0])).sum() / 2.2
    assert trainer.compute_loss(trainer.model, batch()).item() == pytest.approx(expected.item(), rel=1e-6)
    for row in given:
        row["weight"] *= 2
    doubled, more = trainer_of(job_of(tmp_path / "b", model, "c_rlft", given))
    assert doubled.compute_loss(doubled.model, more()).item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_row_of_ten_equal_weights_is_that_row_alone(tmp_path, model):
    """Row weights: a row of weight 3 beside one of weight 1 pulls as three copies of it would."""
    given = rows(2)
    given[0]["weight"] = 3.0
    trainer, batch = trainer_of(job_of(tmp_path, model, "c_rlft", given))
    weighted = gradients(trainer.model, trainer.compute_loss(trainer.model, batch()))
    copies = [dict(row, weight=1.0, row_id=f"{row['row_id']}{i}") for row, n in zip(given, (3, 1), strict=True) for i in range(n)]
    other, more = trainer_of(job_of(tmp_path / "b", model, "c_rlft", copies))
    for a, b in zip(weighted, gradients(other.model, other.compute_loss(other.model, more())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_poft_at_its_anchor_starts_at_log_two_and_falls(tmp_path, model):
    given = rows(8, anchor=0.0)
    trainer, batch = trainer_of(job_of(tmp_path, model, "poft", given))
    means = trainer.values(trainer.model, batch())[0].mean.tolist()
    for row, mean in zip(given, means, strict=True):
        row["extra"] = [("anchor", mean)]
    one = job_of(tmp_path / "b", model, "poft", given, batch_size=8, max_steps=6)
    trained = objective(one.settings).train(one)
    losses = logged(trained, "loss")
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert losses[-1] < losses[0] - 0.05
    assert logged(trained, "margins")[0] == pytest.approx(0.0, abs=1e-5)
    assert logged(trained, "nll")[0] == pytest.approx(-sum(means) / 8, rel=1e-5)


def test_rows_that_cannot_train_are_named(tmp_path, model):
    with pytest.raises(StepError, match="has no anchor, which the objective needs") as error:
        trainer_of(job_of(tmp_path, model, "poft", rows(4)))
    assert "MAP {'anchor'" in error.value.hint
    given = rows(4, anchor=float("nan"))
    with pytest.raises(StepError, match=f"row {given[0]['row_id']} has no anchor"):
        trainer_of(job_of(tmp_path, model, "poft", given))
    given = rows(4)
    given[1]["weight"] = -1.0
    with pytest.raises(StepError, match=f"row {given[1]['row_id']} has the weight -1"):
        trainer_of(job_of(tmp_path, model, "c_rlft", given))
