"""SuperHF: the divergence by its vectors, and a trainer beside a reference that runs."""

from __future__ import annotations

import math

import pytest
import torch

from engine import models
from engine.errors import SpecError, StepError
from engine.train import objective, objectives
from train_small import CPU, Events, job, row, settings, sums, untrained
from unpaired_rows import job_of, logged

BASE, TOKENS = (0.5, 0.3, 0.2), ((0.7, 0.2, 0.1), (0.4, 0.4, 0.2))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def other(tmp_path_factory, model):
    """A model that was trained a little from the first."""
    folder = tmp_path_factory.mktemp("other")
    return objectives.load("sft")().train(job(folder, model, max_steps=4)).folder


def method(**params):
    found = objectives.load("superhf")
    return found(found.Params(**params))


def test_the_divergence_by_its_vectors():
    policy, base = torch.tensor([TOKENS], dtype=torch.float64).log(), torch.tensor([[BASE, BASE]], dtype=torch.float64).log()
    forward = method().divergence(policy, base)
    assert forward[0].tolist() == pytest.approx([0.0920329, 0.0252672], abs=2e-6)
    assert method(direction="reverse").divergence(policy, base)[0, 0].item() == pytest.approx(0.085123, abs=2e-6)
    one, everywhere = torch.ones(1, dtype=torch.float64), torch.ones(1, 2, dtype=torch.bool)
    penalty = method(kl_weight=0.35).penalty(forward, everywhere, one)
    assert forward.mean().item() == pytest.approx(0.05865, abs=2e-6)
    assert 1.2 + penalty.item() == pytest.approx(1.2205275, abs=2e-6)


def test_the_penalty_sums_over_rows_and_leaves_context_out():
    apart = torch.tensor([[0.2, 0.4, 9.0], [-0.3, -0.1, 0.0]])
    targets = torch.tensor([[True, True, False], [True, True, False]])
    weights = torch.tensor([2.0, 1.0])
    assert method(kl_weight=1.0).penalty(apart, targets, weights).item() == pytest.approx(0.6)
    assert method(kl_weight=1.0, clamp=False).penalty(apart, targets, weights).item() == pytest.approx(0.4)


def divergences(policy, base, rows) -> list[float]:
    """The mean KL(base || policy) of each row over the positions that predict its answer, row by row, in double precision."""
    from engine.train.encode import Encoder
    from train_small import selected

    (one, tokenizer), (two, _) = models.load(policy, CPU), models.load(base, CPU)
    found = []
    for example in Encoder(tokenizer, mask="assistant", chat=None, ends=[], limit=64).encode(selected(rows)):
        ids = torch.from_numpy(example.ids)[None]
        with torch.no_grad():
            p, q = (m(ids).logits[0].double().log_softmax(-1) for m in (one, two))
        kl = (q.exp() * (q - p)).sum(-1)
        places = [i - 1 for i, weight in enumerate(example.weights) if weight]
        found.append(float(kl[places].mean()))
    return found


def test_the_loss_is_cross_entropy_and_the_divergence_at_the_same_positions(tmp_path, model, other):
    rows = sums(4)
    for one, weight in zip(rows, (1.0, 2.0, 1.0, 0.5), strict=True):
        one["weight"] = weight
    apart = divergences(model, other, rows)
    penalty = 0.35 * math.fsum(w * kl for w, kl in zip((1.0, 2.0, 1.0, 0.5), apart, strict=True))
    one = job_of(tmp_path, model, "superhf", rows, max_steps=1)
    one.reference = other
    trained = objective(one.settings).train(one)
    plain = objectives.load("sft")().train(job(tmp_path / "sft", model, rows, max_steps=1))
    assert penalty > 0.01
    assert logged(trained, "nll") == pytest.approx([plain.loss], rel=1e-6)
    assert logged(trained, "penalty") == pytest.approx([penalty], rel=1e-4)
    assert trained.loss == pytest.approx(plain.loss + penalty, rel=1e-5)
    mean = job_of(tmp_path / "mean", model, "superhf", rows, max_steps=1, params={"reduce": "mean"})
    mean.reference = other
    assert logged(objective(mean.settings).train(mean), "penalty") == pytest.approx([penalty / 4.5], rel=1e-4)


def test_a_large_weight_keeps_the_model_near_its_reference(tmp_path, model):
    found = {}
    for weight in (0.0, 10.0):
        one = job_of(tmp_path / str(weight), model, "superhf", sums(), epochs=3, params={"kl_weight": weight})
        found[weight] = logged(objective(one.settings).train(one), "kl")
    assert found[0.0][0] == pytest.approx(0.0, abs=1e-6)
    assert found[10.0][-1] < 0.2 * found[0.0][-1]


def test_it_goes_on_after_a_stop(tmp_path, model, other):
    def run(name, **more):
        one = job_of(tmp_path / name, model, "superhf", sums(), **more)
        one.reference, one.progress = other, more.get("progress", one.progress)
        return objective(one.settings).train(one)

    whole = run("whole")
    one = job_of(tmp_path / "cut", model, "superhf", sums())
    one.reference, one.progress = other, Events(stop_at=6)
    with pytest.raises(KeyboardInterrupt):
        objective(one.settings).train(one)
    again = run("cut")
    assert again.detail == {"resumed_at": 4}
    assert models.digest(again.folder) == models.digest(whole.folder) and again.log == whole.log


def test_a_reference_with_another_vocabulary_is_refused(tmp_path, model):
    strange = untrained(tmp_path / "strange", [row("x", [("user", "Zebra?"), ("assistant", "zzz")])])
    one = job_of(tmp_path, model, "superhf", sums())
    one.reference = strange
    with pytest.raises(StepError, match="have different vocabularies"):
        objective(one.settings).train(one)


def test_it_needs_a_reference_and_takes_no_mixture():
    with pytest.raises(SpecError, match="compares with a reference, found none"):
        objective(settings(objective="superhf"))
    with pytest.raises(SpecError, match="takes one model and no mixture"):
        objective(settings(objective="superhf", reference={"base": 0.5, "previous": 0.5}))
