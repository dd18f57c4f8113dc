"""SFTMix: partners stay together, mixed states by their definition, and its limits."""

from __future__ import annotations

import pytest
import torch

from engine import models
from engine.errors import SpecError, StepError
from engine.spec import Lora
from engine.train import objective, objectives
from engine.train.log import Log
from engine.train.mixing import MixCollator, MixTrainer, paired
from engine.train.running import Running
from engine.train.state import Consumed
from train_small import Events, job, settings, sums, untrained


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"))


def halves(n=24, share=0.3, single=()):
    """Rows 2 k and 2 k + 1 are partners, the odd one confident; those of `single` have none."""
    rows = sums(n)
    for i, row in enumerate(rows):
        numbers = [("half", float(i % 2)), ("pair", float(i // 2)), ("lambda", share)]
        row["extra"] = [("confidence", -1.0)] if i in single else numbers
    return rows


def train(folder, model, rows, **more):
    one = job(folder, model, rows, objective="sftmix", **({"log_every": 1} | more))
    return objective(one.settings).train(one)


def trainer_of(tmp_path, model, rows, **more):
    from engine.train.methods.sft import config

    running = Running(job(tmp_path, model, rows, objective="sftmix", **more))
    examples = running.encoder("assistant").encode(running.job.rows)
    pairs, share = paired(running.job.rows.to_pylist())
    plan = Consumed([[i for pair in pairs for i in pair]], [row["row_id"] for row in rows])
    collator = MixCollator(examples, plan.plan, running.pad, share)
    return running.built(MixTrainer, config(running), plan, Log(1, 1), data_collator=collator, mu=0.2), examples, plan.plan[0]


def by_definition(model, examples, pairs, share) -> float:
    """The mean over all mixed positions, from hidden states of one row at a time, in double precision."""
    found = []
    for confident, unconfident in pairs:
        states, labels = [], []
        for i in (confident, unconfident):
            example = examples[i]
            with torch.no_grad():
                hidden = model.model(torch.from_numpy(example.ids)[None]).last_hidden_state[0].double()
            places = [t for t, weight in enumerate(example.weights) if weight and t]
            states.append(hidden[[t - 1 for t in places]])
            labels.append(example.ids[places])
        n = min(map(len, labels))
        mixed = share * states[0][:n] + (1 - share) * states[1][:n]
        logps = (mixed @ model.lm_head.weight.double().T).log_softmax(-1)
        for k in range(n):
            found.append(-(share * logps[k, labels[0][k]] + (1 - share) * logps[k, labels[1][k]]).item())
    return sum(found) / len(found)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_mixed_states_by_their_definition(tmp_path, model, share):
    trainer, examples, order = trainer_of(tmp_path, model, halves(6, share))
    loss = trainer.compute_loss(trainer.model, trainer.data_collator([{"batch": 0}])).item()
    (mix,), (nll,) = trainer.numbers.open["mix"], trainer.numbers.open["nll"]
    pairs = [tuple(order[i : i + 2]) for i in range(0, 6, 2)]
    assert [i % 2 for pair in pairs for i in pair] == [1, 0] * 3
    assert mix == pytest.approx(by_definition(trainer.model, examples, pairs, share), rel=1e-5)
    assert loss == pytest.approx(nll + 0.2 * mix, rel=1e-6)


def test_lambda_one_is_the_loss_of_the_confident_row(tmp_path, model):
    """Its answer is the shorter one here, so nothing is cut."""
    rows = halves(2, 1.0)
    rows[0]["messages"][1]["content"] += "!!!"
    trainer, _, _ = trainer_of(tmp_path, model, rows)
    trainer.compute_loss(trainer.model, trainer.data_collator([{"batch": 0}]))
    alone = objectives.load("sft")().train(job(tmp_path / "alone", model, rows[1:], max_steps=1))
    assert trainer.numbers.open["mix"] == pytest.approx([alone.loss], rel=1e-5)


def test_next_token_loss_is_that_of_sft_on_both_rows(tmp_path, model):
    trained = train(tmp_path / "a", model, halves(4), max_steps=1)
    plain = objectives.load("sft")().train(job(tmp_path / "b", model, sums(4), max_steps=1))
    assert [row["value"] for row in trained.log if row["metric"] == "nll"] == pytest.approx([plain.loss], rel=1e-6)


def test_partners_stand_in_one_batch_and_every_row_trains_once(tmp_path, model):
    rows = halves(22, single=(3, 8))  # the partners of 3 and 8, which are 2 and 9, are left alone too
    number = {row["row_id"]: i for i, row in enumerate(rows)}
    trained = train(tmp_path, model, rows)
    order = [number[row] for row in trained.row_ids]
    assert sorted(order) == list(range(22)) and trained.rows_trained == trained.rows_expected == 22
    places = {row: i for i, row in enumerate(order)}
    for confident in set(range(1, 22, 2)) - {3, 9}:
        assert places[confident - 1] == places[confident] + 1


def test_a_row_alone_trains_by_its_own_loss(tmp_path, model):
    rows = halves(2, single=(0, 1))
    trained = train(tmp_path / "a", model, rows, max_steps=1)
    plain = objectives.load("sft")().train(job(tmp_path / "b", model, sums(2), max_steps=1))
    assert trained.loss == pytest.approx(plain.loss, rel=1e-6)


def test_pairs_that_are_none_are_named(tmp_path, model):
    rows = halves(4)
    rows[0]["extra"][0] = ("half", 1.0)
    with pytest.raises(StepError, match=r"pair 0 of round -1: expected a confident and an unconfident row .* found halves \[1.0, 1.0\]"):
        train(tmp_path, model, rows)
    rows = halves(4)
    rows[3]["extra"][1] = ("pair", 0.0)
    with pytest.raises(StepError, match="pair 0 of round -1"):
        train(tmp_path, model, rows)
    rows = halves(4)
    rows[1]["extra"][2] = ("lambda", 0.4)
    with pytest.raises(StepError, match="one lambda from 0 to 1"):
        train(tmp_path, model, rows)


def test_it_goes_on_after_a_stop_and_with_an_adapter(tmp_path, model):
    how = {"epochs": 2, "lora": Lora(r=2)}
    whole = train(tmp_path / "whole", model, halves(), **how)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", model, halves(), progress=Events(stop_at=6), **how)
    again = train(tmp_path / "cut", model, halves(), **how)
    assert again.detail == {"resumed_at": 4} and again.log == whole.log
    assert models.digest(again.folder) == models.digest(whole.folder)


def test_a_model_that_does_more_than_its_output_layer_is_refused(tmp_path, model):
    trainer, _, _ = trainer_of(tmp_path, model, halves(4))
    trainer.head = torch.nn.Linear(16, trainer.vocabulary)
    with torch.no_grad():
        trainer.head.weight.fill_(3.0)
    with pytest.raises(StepError, match="this model does more to them"):
        trainer.compute_loss(trainer.model, trainer.data_collator([{"batch": 0}]))


@pytest.mark.parametrize("wrong", [{"batch_size": 3}, {"micro_batch": 1}, {"order": "selected"}])
def test_settings_that_would_part_partners(wrong, tmp_path):
    how = settings(objective="sftmix", **wrong)
    with pytest.raises(SpecError, match="sftmix"):
        objective(how).check(None, how, tmp_path)
