"""Preferences over several turns: what tools and users say inside an answer is context, not the model's."""

import pytest
import torch
from safetensors.torch import load_file

from engine.train import objective, sides
from engine.train.running import Running
from pairs_small import fit, loss_of, pair, pairs_job, said, table
from train_small import sums, untrained


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"), sums(16))


def turns(tool: str, last: str = " 1+3=4", weight: float = 1.0) -> list:
    """An answer of two turns with a tool's output between them."""
    return [said(" Add 1 and 3.", weight=weight), said(tool, "tool", 0.0), said(last, weight=weight)]


def test_the_masked_log_ratio_of_the_catalogue():
    policy, reference = torch.tensor([-1.0, -2.0, -1.0, -5.0]), torch.tensor([-1.5, -2.0, -1.2, -9.0])
    own = torch.tensor([1.0, 1.0, 1.0, 0.0])  # the last is the tool's
    ratio = ((policy - reference) * own).sum().item()
    assert ratio == pytest.approx(0.7) and (policy - reference).sum().item() == pytest.approx(4.7)

    def loss(mask):
        values = {"chosen": (policy * mask).sum(), "ref_chosen": (reference * mask).sum(), "rejected": 0.0, "ref_rejected": 0.0}
        return loss_of("dpo", {"beta": 1.0}, {}, **values).item()

    assert loss(own) == pytest.approx(torch.log1p(torch.exp(torch.tensor(-0.7))).item(), abs=1e-6)
    assert loss(own * 0 + 1) == pytest.approx(torch.log1p(torch.exp(torch.tensor(-4.7))).item(), abs=1e-6)


@pytest.mark.parametrize("mask", ["assistant", "message"])
def test_the_tokens_of_a_tool_are_context(tmp_path, model, mask):
    rows = [pair("one", "Add 1 and 3.", turns(" 4"), turns(" 55555555"))]
    job = pairs_job(tmp_path, model, rows, mask=mask)
    running = Running(job)
    from engine.train import pairrows

    (made,) = pairrows.encoded(job.rows, running, objective(job.settings))
    for side, tool in zip(made.sides, (" 4", " 55555555"), strict=True):
        learned = running.tokenizer.decode(side.ids[side.weights > 0])
        shown = running.tokenizer.decode(side.ids)
        assert tool in shown and tool not in learned.replace("=4", "")
        assert " Add 1 and 3." in learned and " 1+3=4" in learned
    # the values of a reference are computed over the same tokens
    encoder = running.encoder(sides.MASK)
    (example,) = encoder.encode(sides.rows(table(rows), "rejected", mask))
    assert (example.ids == made.sides[1].ids).all() and (example.weights == made.sides[1].weights).all()


def test_weights_of_messages_and_the_last_turn_alone(tmp_path, model):
    rows = [pair("one", "Add 1 and 3.", [said(" Add 1 and 3.", weight=0.25), said(" 4", "tool", 0.0), said(" 1+3=4")], turns(" 5"))]

    def weights(mask):
        from engine.train import pairrows

        job = pairs_job(tmp_path, model, rows, mask=mask)
        (made,) = pairrows.encoded(job.rows, Running(job), objective(job.settings))
        return set(made.sides[0].weights.tolist())

    assert weights("message") == {0.0, 0.25, 1.0}
    assert weights("assistant") == {0.0, 1.0}
    last, every = (pairs_job(tmp_path, model, rows, mask=mask) for mask in ("last", "assistant"))
    from engine.train import pairrows

    counts = [pairrows.encoded(job.rows, Running(job), objective(job.settings))[0].sides[0].weights.sum() for job in (last, every)]
    assert 0 < counts[0] < counts[1]


def gradients(tmp_path, model, rows, mask):
    """The gradient of DPO's loss on one batch of all rows."""
    from trl import DPOConfig

    from engine.train.log import Log
    from engine.train.pairing import PairCollator, PairTrainer
    from engine.train.pairrows import encoded
    from engine.train.quiet import quiet
    from engine.train.state import Consumed

    job = pairs_job(tmp_path, model, rows, mask=mask)
    running, method = Running(job), objective(job.settings)
    found = encoded(job.rows, running, method)
    plan = Consumed([list(range(len(found)))], [made.row_id for made in found])
    with quiet():
        config = DPOConfig(**running.arguments(), max_length=None, precompute_ref_log_probs=True)
        collator = PairCollator(found, plan.plan, running.pad)
        trainer = running.built(PairTrainer, config, plan, Log(1, 1), data_collator=collator, objective=method)
    trainer.compute_loss(trainer.model, collator([{"batch": 0}])).backward()
    return torch.cat([weight.grad.flatten() for weight in trainer.model.parameters() if weight.grad is not None])


def test_a_pair_that_differs_in_the_tools_last_words_alone_has_no_gradient(tmp_path, model):
    # nothing of the model's follows what the tool says, so both sides learn the same tokens after the same tokens
    def side(tool):
        return [said(" Add 1 and 3."), said(tool, "tool", 0.0)]

    rows = [pair("one", "Add 1 and 3.", side(" 4"), side(" 55555555"))]
    assert gradients(tmp_path, model, rows, "assistant").abs().max() < 1e-6  # rounding
    unmasked = [pair("one", "Add 1 and 3.", [*side(" 4")[:1], said(" 4", "tool", 1.0)], [*side("")[:1], said(" 55555555", "tool", 1.0)])]
    assert gradients(tmp_path, model, unmasked, "message").abs().max() > 1e-3


def test_an_equal_pair_has_no_gradient_and_the_loss_log_2(tmp_path, model):
    rows = [pair(f"p{i}", "Add 1 and 3.", turns(" 4"), turns(" 4"), ref_chosen_logps=-50.0, ref_rejected_logps=-50.0) for i in range(2)]
    assert gradients(tmp_path, model, rows, "assistant").abs().max() < 1e-6  # rounding
    trained = fit(pairs_job(tmp_path / "fit", model, rows, max_steps=1, weight_decay=0.0))
    assert trained.loss == pytest.approx(0.6931472, abs=1e-6)
    assert load_file(trained.folder / "model.safetensors").keys() == load_file(model / "model.safetensors").keys()
