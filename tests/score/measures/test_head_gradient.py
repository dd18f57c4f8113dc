"""Measure `head_gradient`: against the explicit gradient, against autograd, and the closed forms of DON."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine import models
from engine.errors import StepError
from engine.score.measures import head_gradient
from engine.score.measures.head_gradient import gradient, norm2
from generate_tiny import CPU, save, tokenizer
from score.measures.read_answers import TEXTS, ReadContext, measure, rollouts, values


def toy():
    """A random 7x5 head with 4 tokens; the draws in the order W, H, targets."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(7, 5)), rng.normal(size=(4, 5)), rng.integers(0, 7, 4)


def explicit(head, hidden, targets, bias=0.0):
    logits = hidden @ head.T + bias
    errors = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    errors[np.arange(len(targets)), targets] -= 1
    return logits, errors.T @ hidden


@pytest.mark.parametrize(("mean", "don"), [(True, -0.0109656), (False, -0.0248302)])
@pytest.mark.parametrize("cells", [1 << 22, 8])
def test_two_numbers_give_the_explicit_gradient_and_its_step(monkeypatch, mean, don, cells):
    monkeypatch.setattr(head_gradient, "CELLS", cells)  # 8: the vocabulary in blocks of two
    head, hidden, targets = toy()
    logits, whole = explicit(head, hidden, targets)
    whole = whole / (4 if mean else 1)
    square, dot = gradient(*(torch.tensor(x) for x in (hidden, logits, targets)), mean=mean)
    assert square == pytest.approx((whole**2).sum(), rel=1e-12) and dot == pytest.approx((head * whole).sum(), rel=1e-12)
    own = norm2(torch.tensor(head))
    assert own == pytest.approx((head**2).sum(), rel=1e-12)
    growth = 0.01 * square - 0.2 * dot
    closed = growth / (np.sqrt(own + growth) + np.sqrt(own))
    assert closed == pytest.approx(np.linalg.norm(head - 0.1 * whole) - np.linalg.norm(head), abs=1e-13)
    assert closed == pytest.approx(don, abs=5e-8)


def test_a_bias_of_the_head_is_no_part_of_the_product():
    head, hidden, targets = toy()
    bias = np.linspace(-1, 1, 7)
    logits, whole = explicit(head, hidden, targets, bias)
    square, dot = gradient(*(torch.tensor(x) for x in (hidden, logits, targets, bias)), mean=False)
    assert square == pytest.approx((whole**2).sum(), rel=1e-12) and dot == pytest.approx((head * whole).sum(), rel=1e-12)


@pytest.mark.parametrize("loss", ["mean", "sum"])
def test_numbers_of_a_model_are_those_of_autograd(tmp_path, loss):
    path = save(tmp_path / "m", tie_word_embeddings=False)
    made = measure("head_gradient", loss=loss).measure(ReadContext(tmp_path, {"policy": path}), rollouts(TEXTS))
    model, words = models.load(path, CPU)
    model = model.double()
    for row, (ask, answer) in enumerate(TEXTS):
        prompt, own = words(ask)["input_ids"], [*words(answer)["input_ids"], 0]
        labels = torch.tensor([[-100] * len(prompt) + own])
        model.zero_grad()
        value = model(torch.tensor([prompt + own]), labels=labels).loss * (1 if loss == "mean" else len(own))
        value.backward()
        slow, weight = model.lm_head.weight.grad, model.lm_head.weight
        assert values(made, "_norm2")[row] == pytest.approx(slow.square().sum().item(), rel=1e-4)
        assert values(made, "_dot")[row] == pytest.approx((slow * weight).sum().item(), rel=1e-3, abs=1e-6)
        assert values(made, "_head2")[row] == pytest.approx(weight.square().sum().item(), rel=1e-6)


def test_a_tied_head_and_no_dependence_on_other_rows(tmp_path):
    ctx = ReadContext(tmp_path, {"policy": save(tmp_path / "m", "gpt2")})
    one, rows = measure("head_gradient"), rollouts(TEXTS)
    whole = one.measure(ctx, rows)
    alone = one.measure(ReadContext(tmp_path / "alone", ctx.folders), rows.slice(3, 1))
    assert all(values(alone, suffix) == values(whole, suffix)[3:4] for suffix in one.outputs)
    long = measure("head_gradient", max_length=20).measure(ReadContext(tmp_path / "long", ctx.folders), rows)
    assert values(long, "_dot")[3] is None and long["_norm2"]["detail"].to_pylist()[3] == "truncated: 55 tokens, 20 allowed"


def test_a_model_that_changes_its_logits_after_the_head_is_refused(tmp_path):
    import transformers as hf

    torch.manual_seed(0)
    words = tokenizer()
    config = hf.Gemma2Config(vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
                             head_dim=8, intermediate_size=16, eos_token_id=0, pad_token_id=0, final_logit_softcapping=2.0)  # fmt: skip
    hf.Gemma2ForCausalLM(config).save_pretrained(tmp_path / "m")
    words.save_pretrained(tmp_path / "m")
    with pytest.raises(StepError, match="changes its logits after the head"):
        measure("head_gradient").measure(ReadContext(tmp_path, {"policy": tmp_path / "m"}), rollouts(TEXTS))
