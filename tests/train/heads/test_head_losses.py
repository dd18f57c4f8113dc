"""Losses of objectives with a head, on numbers: the catalogue's, closed forms, and what a row must have."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import logsigmoid

from engine.errors import SpecError, StepError
from fakes import spec_of
from train.heads.heads_small import made, pair, values

QWEN = {"rm_pos": [1.0, 0.5], "rm_neg": [0, -1, 0.2, -0.3], "rm_loss": 0.3316556}  # arXiv 2409.12122, k = 2 of 6


def loss(objective, outputs, rows):
    found = values(objective, outputs, rows)
    weights = torch.tensor([row["weight"] for row in rows])
    return float((objective.loss(found) * weights).sum() / weights.sum())


def test_all_right_against_all_wrong_is_the_listwise_loss():
    both = [(right, wrong) for right in QWEN["rm_pos"] for wrong in QWEN["rm_neg"]]
    rows = [pair(f"p{i}", "x", "a", "b", weight=1 / 8) for i in range(8)]
    assert loss(made("reward_model"), [[[right], [wrong]] for right, wrong in both], rows) == pytest.approx(QWEN["rm_loss"], abs=2e-6)


@pytest.mark.parametrize(("name", "outputs"), [("reward_model", [[[0.7], [0.7]]]), ("preference_model", [[[0.3, 0.3], [0.1, 0.1]]])])
def test_a_head_that_says_nothing_loses_log_2(name, outputs):
    objective, row = made(name), pair("p", "x", "a", "b")
    assert loss(objective, outputs, [row]) == pytest.approx(math.log(2), abs=1e-7)
    assert loss(objective, outputs, [row | {"probability": 0.3}]) == pytest.approx(math.log(2), abs=1e-7)


def test_margin_and_centering_are_those_of_trl():
    outputs, margins = torch.tensor([[[1.5], [0.2]], [[-0.4], [0.9]]]), torch.tensor([0.5, 2.0])
    rows = [pair(f"p{i}", "x", "a", "b", margin=float(m)) for i, m in enumerate(margins)]
    chosen, rejected = outputs[:, 0, 0], outputs[:, 1, 0]
    expected = -logsigmoid(chosen - rejected - margins).mean() + 0.3 * ((chosen + rejected) ** 2).mean()
    assert loss(made("reward_model", margin=1.0, center=0.3), outputs.tolist(), rows) == pytest.approx(float(expected), abs=1e-6)
    plain = -logsigmoid(chosen - rejected).mean()
    assert loss(made("reward_model"), outputs.tolist(), rows) == pytest.approx(float(plain), abs=1e-6)
    with pytest.raises(StepError, match="pair p has no margin"):
        made("reward_model", margin=1.0).numbers(pair("p", "x", "a", "b"))


@pytest.mark.parametrize("name", ["reward_model", "preference_model"])
def test_soft_labels_and_smoothing_have_their_optimum_where_they_should(name):
    """The gradient vanishes at log(p / (1 - p))."""
    z = math.log(0.8 / 0.2)
    outputs = [[[z], [0.0]]] if name == "reward_model" else [[[z, 0.0], [0.0, z]]]
    for objective, row in (
        (made(name), pair("p", "x", "a", "b", probability=0.8)),
        (made(name, label_smoothing=0.2), pair("p", "x", "a", "b")),
        (made(name, label_smoothing=0.2), pair("p", "x", "a", "b", probability=1.0)),
    ):
        found = values(objective, outputs, [row])
        given = found.outputs.requires_grad_()
        objective.loss(type(found)(given, found.numbers)).sum().backward()
        assert given.grad.abs().max() < 1e-6
        entropy = -0.8 * math.log(0.8) - 0.2 * math.log(0.2)
        assert float(objective.loss(found).detach()) == pytest.approx(entropy, abs=1e-6)


def test_a_pair_teaches_the_heads_that_it_is_about_and_the_sign_says_which_side():
    objective = made("reward_model", heads=["helpful", "brief"])
    outputs = [[[2.0, 1.0], [0.5, 3.0]]]
    about_both = [pair("p", "x", "a", "b", extra=[("helpful", 1.0), ("brief", -4.0)])]
    expected = (math.log1p(math.exp(-1.5)) + math.log1p(math.exp(-2.0))) / 2
    assert loss(objective, outputs, about_both) == pytest.approx(expected, abs=1e-6)
    one = [pair("p", "x", "a", "b", extra=[("brief", 2.0), ("other", 9.0)])]
    assert loss(objective, outputs, one) == pytest.approx(math.log1p(math.exp(2.0)), abs=1e-6)
    logged = objective.logged(values(objective, outputs, one))
    assert float(logged["accuracy"]) == 0 and float(logged["margin"]) == -2
    with pytest.raises(StepError, match=r"row p has no number of any head \(helpful, brief\) in extra, which has \['other'\]"):
        objective.numbers(pair("p", "x", "a", "b", extra=[("other", 1.0)]))
    with pytest.raises(StepError, match="says of no head"):
        objective.numbers(pair("p", "x", "a", "b", extra=[("brief", 0.0)]))


def test_regression_is_the_squared_error_of_the_heads_that_have_a_number():
    objective = made("reward_regression", heads=["help", "words"])
    row = {"row_id": "r", "extra": [("help", 2.0)], "weight": 1.0}
    assert loss(objective, [[[1.5, 40.0]]], [row]) == pytest.approx(0.25)
    assert loss(objective, [[[1.5, 40.0]]], [row | {"extra": [("help", 2.0), ("words", 37.0)]}]) == pytest.approx((0.25 + 9) / 2)


def test_both_orders_count_and_a_love_of_the_first_place_shows():
    objective, row = made("preference_model"), pair("p", "x", "a", "b")
    found = values(objective, [[[3.0, 0.0], [3.0, 0.0]]], [row])
    assert float(objective.loss(found)) == pytest.approx((math.log1p(math.exp(-3)) + math.log1p(math.exp(3))) / 2, abs=1e-6)
    logged = {name: float(value) for name, value in objective.logged(found).items()}
    assert logged == {"accuracy": 0.5, "margin": 0.0, "position_bias": 3.0}


def test_the_policy_answers_prompts_and_needs_no_head():
    one = made("reward_model")
    train = spec_of(train=[{"init": "base", "reference": "none", "data": "round", "objective": "reward_model"}]).train[0]
    with pytest.raises(SpecError, match="the policy answers prompts"):
        one.check(spec_of(), train, Path("spec.yaml"))
    with pytest.raises(SpecError, match=r"the text lacks \{response\}"):
        made("reward_model", template="{prompt}")
    with pytest.raises(SpecError, match=r"the text lacks \{second\}"):
        made("preference_model", template="{prompt} {first}")
