"""KTO against TRL's own trainer on the same rows, its parts, and rows whose tools' messages are masked."""

from __future__ import annotations

import pytest
import torch

from engine import models
from engine.errors import StepError
from engine.train import mismatched, objective, objectives
from engine.train.rowwise import RowValues
from train_small import CPU, row, selected, settings, sums, untrained
from unpaired_rows import gradients, job_of, logged, rows, trainer_of


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def reference(tmp_path_factory, model):
    """Another model with the tokenizer of the first."""
    folder = tmp_path_factory.mktemp("reference")
    loaded, tokenizer = models.load(model, CPU)
    with torch.no_grad():
        for n, weight in enumerate(loaded.parameters()):
            weight += 0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(n)) * weight.std()
    loaded.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def summed(folder, tokens) -> torch.Tensor:
    """Log-probabilities of the targets under a model."""
    loaded, _ = models.load(folder, CPU)
    with torch.no_grad():
        logps = loaded(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits[:, :-1].log_softmax(-1)
    return (logps.gather(2, tokens["input_ids"][:, 1:, None])[..., 0] * tokens["weights"][:, 1:]).sum(1)


def referred(tmp_path, model, reference, given, name="made", **more):
    """A trainer over `given` with the values of the reference in `extra`, and its batch."""
    for one in given:
        one["extra"] = [("ref_logps", 0.0), ("ref_kl_logps", 0.0)]
    _, batch = trainer_of(job_of(tmp_path / f"{name}0", model, "kto", given, batch_size=len(given)))
    own, other = summed(reference, batch()).tolist(), summed(reference, batch()["other"]).tolist()
    for one, a, b in zip(given, own, other, strict=True):
        one["extra"] = [("ref_logps", a), ("ref_kl_logps", b)]
    return trainer_of(job_of(tmp_path / name, model, "kto", given, batch_size=len(given), **more))


def theirs(tmp_path, model, reference, how):
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    config = KTOConfig(
        output_dir=str(tmp_path / "trl"), use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none", max_length=None,
        beta=how.beta, desirable_weight=how.desirable_weight, undesirable_weight=how.undesirable_weight,
        loss_type="kto" if how.kl == "batch" else "apo_zero_unpaired", per_device_train_batch_size=4, disable_dropout=True,
    )  # fmt: skip
    loaded, tokenizer = models.load(model, CPU)
    data = Dataset.from_list([{"prompt": f"Add {i}", "completion": " 1", "label": bool(i % 2)} for i in range(8)])
    return KTOTrainer(loaded, models.load(reference, CPU)[0], args=config, train_dataset=data, processing_class=tokenizer)


def batch_of(ours):
    """The same tensors by the names of TRL."""
    other = ours["other"]
    return {
        "input_ids": ours["input_ids"], "attention_mask": ours["attention_mask"], "completion_mask": (ours["weights"] > 0).long(),
        "KL_input_ids": other["input_ids"], "KL_attention_mask": other["attention_mask"],
        "KL_completion_mask": (other["weights"] > 0).long(), "label": ours["desirable"],
    }  # fmt: skip


@pytest.mark.parametrize("params", [{}, {"beta": 0.3, "desirable_weight": 1.3, "undesirable_weight": 0.7}, {"kl": "none"}])
def test_loss_and_gradients_are_those_of_trl(tmp_path, model, reference, params):
    from engine.train.quiet import quiet

    with quiet():
        given = rows(6)
        trainer, batch = referred(tmp_path, reference, model, given, params=params)
        full = trainer_of(job_of(tmp_path / "full", reference, "kto", given, batch_size=6))[1]()
        peer = theirs(tmp_path, reference, model, objectives.load("kto").Params(**params))
    ours = gradients(trainer.model, own := trainer.compute_loss(trainer.model, batch()))
    peers = gradients(peer.model, loss := peer._compute_loss(peer.model, batch_of(full), False))
    assert own.item() == pytest.approx(loss.item(), rel=1e-5)
    for a, b in zip(ours, peers, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)
    kl = peer._metrics["eval"]["kl"][-1]  # the model is not in training mode
    assert trainer.numbers.open["kl"] == pytest.approx([kl], rel=1e-4, abs=1e-6)
    assert (kl > 0.01) == (params.get("kl") != "none")


def test_where_the_model_is_the_reference_the_loss_is_half(tmp_path, model):
    trainer, batch = referred(tmp_path, model, model, rows(4))
    assert trainer.compute_loss(trainer.model, batch()).item() == pytest.approx(0.5, abs=1e-6)


def test_desirable_rows_rise_and_undesirable_ones_fall():
    logps = torch.zeros(2, requires_grad=True)
    given = RowValues(logps, torch.ones(2), ref=torch.zeros(2), desirable=torch.tensor([True, False]), kl=0.7)
    loss = objectives.load("kto")().loss(given)
    assert loss.tolist() == pytest.approx([1 - 1 / (1 + 2.718281828 ** (0.07)), 1 - 1 / (1 + 2.718281828 ** (-0.07))], abs=1e-6)
    loss.sum().backward()
    assert logps.grad[0] < 0 < logps.grad[1]


def test_partners_are_rows_of_the_batch_and_stay(tmp_path):
    from engine.train.order import plan

    given = sums(9)
    how = settings(batch_size=4, reference="base")
    found = mismatched.partners(selected(given), how, 5, 0)
    batches = plan([one["row_id"] for one in given], batch_size=4, epochs=1, max_steps=None, seed=5, round_=0)
    assert [len(batch) for batch in batches] == [4, 4, 1]
    for batch in (batches[0], batches[1] + batches[2]):  # a row alone joins the batch before
        assert [found[i] for i in batch] == [batch[-1], *batch[:-1]]
    assert sorted(found) == list(range(9))
    longer = mismatched.partners(selected(given), settings(batch_size=4, epochs=3, reference="base"), 5, 0)
    assert longer == found
    with pytest.raises(StepError, match="there is a single row"):
        mismatched.partners(selected(given[:1]), how, 5, 0)


def test_a_partners_answer_stands_under_the_rows_prompt():
    given = sums(2)
    made = mismatched.rows(selected(given), settings(batch_size=2, reference="base"), 5, 0).to_pylist()
    assert [m["messages"][0]["content"] for m in made] == [one["messages"][0]["content"] for one in given]
    assert [m["messages"][1]["content"] for m in made] == [one["messages"][1]["content"] for one in given[::-1]]


def test_what_a_tool_says_gives_no_gradient(tmp_path, model):
    """Two rows that differ only in a tool's message of weight 0, which stands last before the answer, have no target there."""
    said = [("user", "Add 1 and 2."), ("assistant", " 1+2=3", 1.0), ("user", "tool: 33", 0.0), ("assistant", " 3!", 1.0)]
    given = [row("one", said) | {"label": "desirable"}, row("two", said) | {"label": "undesirable"}]
    trainer, batch = referred(tmp_path, model, model, given, mask="message")
    encoded, weights = batch()["input_ids"][0], batch()["weights"][0]
    tool = trainer.processing_class("tool: 33", add_special_tokens=False)["input_ids"]
    text = trainer.processing_class.decode(encoded[weights > 0])
    assert "tool" not in text and "1+2=3" in text and " 3!" in text
    assert set(tool) & set(encoded[weights == 0].tolist())


def test_a_catalogue_trajectory_has_the_masked_ratio():
    """Logps of a turn: model -1, -2, -1 and tool -5; reference -1.5, -2, -1.2 and -9: +0.7 with the mask, +4.7 without."""
    policy, reference, mask = torch.tensor([-1.0, -2, -1, -5]), torch.tensor([-1.5, -2, -1.2, -9]), torch.tensor([1.0, 1, 1, 0])
    values = RowValues((policy * mask).sum()[None], mask.sum()[None], ref=(reference * mask).sum()[None])
    assert values.ratio.item() == pytest.approx(0.7, abs=1e-6)
    assert (policy - reference).sum().item() == pytest.approx(4.7, abs=1e-6)


def test_labels_and_reference_values_are_asked_for(tmp_path, model):
    given = rows(4, ref_logps=-1.0, ref_kl_logps=-1.0)
    given[2]["label"] = "good"
    with pytest.raises(StepError, match="expected the label desirable or undesirable, found 'good'"):
        trainer_of(job_of(tmp_path, model, "kto", given))
    with pytest.raises(StepError, match="has no ref_kl_logps"):
        trainer_of(job_of(tmp_path, model, "kto", rows(4, ref_logps=-1.0)))


def test_it_trains_rewards_apart(tmp_path, model):
    given = rows(16)
    referred(tmp_path, model, model, given)
    one = job_of(tmp_path / "train", model, "kto", given, batch_size=16, epochs=12, learning_rate=5e-3)
    trained = objective(one.settings).train(one)
    good, bad = logged(trained, "rewards/desirable"), logged(trained, "rewards/undesirable")
    assert (good[0], bad[0]) == pytest.approx((0.0, 0.0), abs=1e-5)
    assert good[-1] - bad[-1] > 0.02


def test_rows_held_out_have_a_loss_also_in_parts(tmp_path, model):
    given = rows(20)
    referred(tmp_path, model, model, given)
    found = []
    for micro in (None, 3):
        hold_out = {"share": 0.4, "every": 2}
        one = job_of(tmp_path / str(micro), model, "kto", given, batch_size=4, max_steps=4, micro_batch=micro, hold_out=hold_out)
        trained = objective(one.settings).train(one)
        assert len(trained.row_ids) == trained.rows_expected
        found.append(trained.detail["held_out_loss"])
    assert found[0] == pytest.approx(found[1], rel=1e-4)
