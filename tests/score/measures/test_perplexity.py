"""Measure `perplexity`: of answers by `logprob`, of prompts by a forward pass."""

from __future__ import annotations

import math

import pytest
import torch

from engine import models
from generate_tiny import CPU, save
from score.measures.read_answers import TEXTS, ReadContext, measure, rollouts, values


def test_of_answers_it_is_the_exponential_of_the_mean_loss(tmp_path):
    path = save(tmp_path / "m")
    (tmp_path / "lp").mkdir()
    means = values(measure("logprob").measure(ReadContext(tmp_path / "lp", {"policy": path}), rollouts(TEXTS)), "_mean")
    made = values(measure("perplexity").measure(ReadContext(tmp_path, {"policy": path}), rollouts(TEXTS)))
    assert made == [round(math.exp(-mean), 6) for mean in means] and min(made) > 1


def test_of_prompts_it_looks_at_no_answer(tmp_path):
    path = save(tmp_path / "m", template="never {{ shown }}")
    made = values(measure("perplexity", of="prompt").measure(ReadContext(tmp_path, {"policy": path}), rollouts([*TEXTS, ("a", "long")])))
    model, words = models.load(path, CPU)
    for (ask, _), value in zip(TEXTS, made, strict=False):
        ids = torch.tensor([words(ask)["input_ids"]])
        with torch.no_grad():
            loss = model(ids, labels=ids).loss.item()
        assert value == pytest.approx(math.exp(loss), rel=1e-4)
    assert made[0] == made[1] and made[6] is None, "one token follows nothing"
