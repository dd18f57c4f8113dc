import json
import math
from itertools import pairwise

import pytest
import torch

from engine import models
from engine.errors import StepError
from engine.spec import Lora
from engine.step import Device
from engine.train.encode import Encoder
from engine.train.schedules import learning_rate_ratio
from train_small import CPU, Events, job, row, selected, sft, sums, untrained


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


def examples_of(path, rows):
    loaded, tokenizer = models.load(path, CPU)
    return loaded, tokenizer, Encoder(tokenizer, mask="assistant", chat=None, ends=[], limit=64).encode(selected(rows))


def weighted_loss(path, rows) -> float:
    """The loss by its definition: sum of weight * nll over targets by the sum of weights."""
    loaded, _, examples = examples_of(path, rows)
    total = weights = 0.0
    for example in examples:
        with torch.no_grad():
            logps = loaded(torch.from_numpy(example.ids)[None]).logits[0].double().log_softmax(-1)
        for i in range(1, len(example.ids)):
            total -= example.weights[i] * logps[i - 1, example.ids[i]].item()
            weights += example.weights[i]
    return total / weights


def test_row_weights_enter_the_loss(tmp_path, model):
    rows = sums(4)
    for one, weight in zip(rows, (1.0, 0.5, 3.0, 0.01), strict=True):
        one["weight"] = weight
    trained = sft(job(tmp_path, model, rows, max_steps=1))
    assert trained.loss == pytest.approx(weighted_loss(model, rows), rel=1e-6)
    assert abs(trained.loss - weighted_loss(model, sums(4))) > 1e-4


def trainer_of(tmp_path, model, rows):
    """A trainer over one batch of `rows`, and that batch's tensors."""
    from engine.train.log import Log
    from engine.train.methods.sft import trainer as made
    from engine.train.running import Running
    from engine.train.state import Consumed

    running = Running(job(tmp_path, model, rows))
    plan = Consumed([list(range(len(rows)))], [r["row_id"] for r in rows])
    trainer = made(running, examples_of(model, rows)[2], plan, Log(1, 1))
    return trainer, lambda: trainer.data_collator([{"batch": 0}])


def test_equal_weights_give_the_mean_over_tokens_of_trl(tmp_path, model):
    from trl import SFTTrainer

    trainer, batch = trainer_of(tmp_path, model, sums(4))
    own = trainer.compute_loss(trainer.model, batch())
    inputs = {name: tensor for name, tensor in batch().items() if name in ("input_ids", "attention_mask", "labels")}
    theirs = SFTTrainer.compute_loss(trainer, trainer.model, inputs)
    assert own.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_the_path_for_large_vocabularies_gives_the_same_loss_and_gradients(tmp_path, model, monkeypatch):
    rows = sums(4)
    rows[0]["weight"] = 2.5
    trainer, batch = trainer_of(tmp_path, model, rows)

    def gradients():
        trainer.model.zero_grad()
        loss = trainer.compute_loss(trainer.model, batch())
        loss.backward()
        return loss.item(), [p.grad.clone() for p in trainer.model.parameters()]

    loss, plain = gradients()
    monkeypatch.setattr("engine.train.trainer.SMALL", 0)
    tiled_loss, tiled = gradients()
    assert tiled_loss == pytest.approx(loss, rel=1e-6)
    for a, b in zip(plain, tiled, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_training_learns_counts_and_repeats_itself(tmp_path, model, capfd):
    events = Events()
    one = sft(job(tmp_path / "a", model, epochs=3, progress=events))
    two = sft(job(tmp_path / "b", model, sums()[::-1], epochs=3))
    assert models.digest(one.folder) == models.digest(two.folder) != models.digest(model)
    assert (one.steps, one.rows_trained, one.rows_expected) == (18, 72, 72)
    assert one.row_ids == two.row_ids
    assert sorted(one.row_ids) == sorted([r["row_id"] for r in sums()] * 3)
    assert events.began == [("checkpoint", 18, 0, "steps")]
    assert events.steps == 18
    assert weighted_loss(one.folder, sums()) < 0.8 * weighted_loss(model, sums())
    assert one.tokens == 3 * sum(len(e.ids) for e in examples_of(model, sums())[2])
    assert capfd.readouterr() == ("", "")


def test_a_sampler_that_shuffles_is_refused(tmp_path, model, monkeypatch):
    trainer, _ = trainer_of(tmp_path, model, sums(4))
    monkeypatch.setattr(trainer.args, "train_sampling_strategy", "random")
    with pytest.raises(StepError, match=r"sequential sampler.* found RandomSampler"):
        trainer.get_train_dataloader()


def test_rows_without_an_order_do_not_train_in_one(tmp_path, model):
    with pytest.raises(StepError, match="24 of 24 rows have no `order`"):
        sft(job(tmp_path, model, order="selected"))


def test_what_is_saved_is_a_model_like_the_one_before(tmp_path, model):
    trained = sft(job(tmp_path, model, max_steps=1))
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (model, trained.folder))
    assert after == before
    assert {p.name for p in trained.folder.iterdir()} == {p.name for p in model.iterdir()}


def test_an_adapter_trains_only_its_targets_and_is_merged(tmp_path, model):
    trained = sft(job(tmp_path, model, epochs=1, lora=Lora(r=2, alpha=8, targets=("q_proj", "v_proj"))))
    before, _ = models.load(model, CPU)
    after, _ = models.load(trained.folder, CPU)
    changed = {name for (name, a), (_, b) in zip(before.named_parameters(), after.named_parameters(), strict=True) if not torch.equal(a, b)}
    assert changed == {"model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.v_proj.weight"}
    assert not list(trained.folder.glob("adapter*"))


def test_targets_that_the_model_does_not_have(tmp_path, model):
    with pytest.raises(StepError, match="no_such_proj"):
        sft(job(tmp_path, model, lora=Lora(targets=("no_such_proj",))))


def test_half_precision_is_saved_as_the_experiment_has_it(tmp_path, model):
    from safetensors.torch import load_file

    trained = sft(job(tmp_path, model, max_steps=2, device=Device("cpu", 1, "bfloat16")))
    assert {t.dtype for t in load_file(trained.folder / "model.safetensors").values()} == {torch.bfloat16}
    assert math.isfinite(trained.loss)


def test_a_loss_that_is_not_finite_names_step_and_rows(tmp_path, model):
    broken = tmp_path / "broken"
    loaded, tokenizer = models.load(model, CPU)
    with torch.no_grad():
        loaded.model.embed_tokens.weight[tokenizer("23")["input_ids"][0]] = float("inf")
    loaded.save_pretrained(broken)
    tokenizer.save_pretrained(broken)
    with pytest.raises(StepError, match=r"training step \d of 6: the loss is nan; rows of its batch: ") as error:
        sft(job(tmp_path, broken))
    number = int(error.value.message.split()[2])
    planned = sft(job(tmp_path / "whole", model)).row_ids[4 * (number - 1) : 4 * number]
    assert error.value.message.endswith(", ".join(planned))
    assert not (tmp_path / "out").exists()


def test_gradients_that_are_not_finite_stop_before_they_spoil_the_weights(tmp_path, model):
    with pytest.raises(StepError, match=r"training step 2 of 6: the gradient norm is nan; rows of its batch: [0-9a-f]{16}, "):
        sft(job(tmp_path, model, learning_rate=1e30))


def test_rows_longer_than_the_models_positions(tmp_path, model):
    long = row("long", [("user", "Add 1 and 2."), ("assistant", "!" * 200)])
    with pytest.raises(StepError, match=r"row long has .* allowed are 64"):
        sft(job(tmp_path, model, [*sums(), long]))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_schedule_rises_to_the_peak_and_ends_at_its_share(schedule):
    from train_small import settings

    how = settings(schedule=schedule, warmup_steps=4, min_lr_ratio=0.05)
    ratios = [learning_rate_ratio(step, 24, how) for step in range(25)]
    assert ratios[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert ratios[24] == pytest.approx(0.05)
    assert ratios[14] == pytest.approx(0.525)
    assert all(a > b for a, b in pairwise(ratios[4:]))


def test_the_constant_schedule_stays():
    from train_small import settings

    how = settings(schedule="constant", warmup_steps=1)
    assert [learning_rate_ratio(step, 9, how) for step in (0, 1, 8)] == [0.5, 1.0, 1.0]


def test_the_trainer_follows_the_spec(tmp_path, model):
    """One step of AdamW at the first rate of the schedule, against torch's own."""
    rows = sums(4)
    trained = sft(job(tmp_path, model, rows, max_steps=1, warmup_steps=1, betas=(0.8, 0.9), weight_decay=0.1, clip=0.5))
    trainer, batch = trainer_of(tmp_path / "t", model, rows)
    decayed = [p for name, p in trainer.model.named_parameters() if "norm" not in name]
    others = [p for name, p in trainer.model.named_parameters() if "norm" in name]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=5e-3, betas=(0.8, 0.9))
    trainer.compute_loss(trainer.model, batch()).backward()
    torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 0.5)
    optimizer.step()
    after, _ = models.load(trained.folder, CPU)
    for (name, found), expected in zip(after.named_parameters(), trainer.model.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6, msg=name)
