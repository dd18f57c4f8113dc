"""Trainings of the house beside TRL's own trainers on the same rows: the same weights after three steps, the same losses."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from engine.errors import StepError
from engine.train.losses import nll
from engine.train.pairwise import PairValues
from engine.train.running import Running
from pairs_small import fit, loss_of, pairs, pairs_job
from train_small import sums, untrained

STEPS = 3
PLAIN = {"optimizer": "sgd", "learning_rate": 0.05}  # AdamW makes whole steps of gradients that are nothing but rounding
# TRL's loss_type with its settings, and ours
DPO = [
    ("dpo", {}, {"loss_type": ["sigmoid"]}),
    ("hinge", {"beta": 0.3}, {"loss_type": ["hinge"], "beta": 0.3}),
    ("ipo", {}, {"loss_type": ["ipo"]}),
    ("robust", {"label_smoothing": 0.2}, {"loss_type": ["robust"], "label_smoothing": 0.2}),
    ("rpo", {"scale": "batch", "coefficient": 0.5}, {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}),
    ("sppo", {"eta": 10.0, "targets": "hard"}, {"loss_type": ["sppo_hard"]}),
    ("dpo_norm", {}, {"loss_type": ["sigmoid_norm"], "beta": 5.0}),
    ("exo_pair", {"label_smoothing": 0.01}, {"loss_type": ["exo_pair"], "label_smoothing": 0.01}),
    ("nca_pair", {}, {"loss_type": ["nca_pair"]}),
    ("bco_pair", {}, {"loss_type": ["bco_pair"]}),
    ("apo_zero", {}, {"loss_type": ["apo_zero"]}),
    ("apo_down", {}, {"loss_type": ["apo_down"]}),
    ("discopop", {}, {"loss_type": ["discopop"]}),
    ("aot", {"label_smoothing": 0.1}, {"loss_type": ["aot"], "label_smoothing": 0.1}),
    ("aot", {"form": "unpaired"}, {"loss_type": ["aot_unpaired"]}),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"), sums(16))


def rows_of(one, order):
    """The model that `one` trains, and the rows as TRL has them once tokenised, in the order in which they were consumed."""
    from engine.train import objective, pairrows

    running = Running(one)
    found = {pair.row_id: pair for pair in pairrows.encoded(one.rows, running, objective(one.settings))}
    table = {row["row_id"]: row for row in one.rows.to_pylist()}
    rows = []
    for name in order:
        starts = [int((side.weights > 0).argmax()) for side in found[name].sides]
        chosen, rejected, *third = (side.ids[start:].tolist() for side, start in zip(found[name].sides, starts, strict=True))
        row = {"prompt_ids": found[name].sides[0].ids[: starts[0]].tolist(), "chosen_ids": chosen, "rejected_ids": rejected}
        row |= {"reference_ids": third[0]} if third else {}
        rows.append(row | {column: table[name][column] for column in ("ref_chosen_logps", "ref_rejected_logps")})
    return running, rows


def plainly(trainer, config, running, rows, tmp_path, **settings):
    """A trainer of TRL as it is, but for the tokenisation, which is done."""
    from datasets import Dataset

    from engine.train.quiet import quiet

    class Plain(trainer):
        def _prepare_dataset(self, dataset, *args, **more):
            return dataset

        def _precompute_ref_logps(self, dataset, *args, **more):
            return dataset

    arguments = running.arguments() | {"per_device_train_batch_size": 4, "output_dir": str(tmp_path / "plain"), "save_strategy": "no"}
    with quiet():
        return Plain(
            model=running.model,
            args=config(**arguments, **settings),
            processing_class=running.tokenizer,
            train_dataset=Dataset.from_list(rows),
        )


def assert_the_same_weights(trained, theirs):
    ours = load_file(trained.folder / "model.safetensors")
    for name, weight in theirs.state_dict().items():
        if name in ours:
            torch.testing.assert_close(ours[name], weight, rtol=0, atol=1e-6)


# one loss of each kind in every run, the others with the slow tests
@pytest.mark.parametrize("name, params, settings", [*DPO[:4], *(pytest.param(*case, marks=pytest.mark.slow) for case in DPO[4:])])
def test_three_steps_of_trls_dpo_trainer_give_the_same_weights(tmp_path, model, name, params, settings):
    from trl import DPOConfig, DPOTrainer

    how = {"objective": name, "params": params, "max_steps": STEPS, **PLAIN}
    trained = fit(pairs_job(tmp_path, model, **how))
    running, rows = rows_of(pairs_job(tmp_path, model, **how), trained.row_ids)
    fixed = {"max_length": None, "precompute_ref_log_probs": True, "max_steps": STEPS}
    trainer = plainly(DPOTrainer, DPOConfig, running, rows, tmp_path, **fixed, **settings)
    assert trained.loss == pytest.approx(trainer.train().training_loss, rel=1e-5)
    assert trained.steps == STEPS
    assert_the_same_weights(trained, trainer.model)
    before = load_file(model / "model.safetensors")
    after = load_file(trained.folder / "model.safetensors")
    assert max((after[key] - before[key]).abs().max() for key in after) > 1e-3  # the comparison says something


@pytest.mark.parametrize(
    "params, settings",
    [
        ({}, {}),
        ({"normalise": "tokens", "beta": 10.0}, {"loss_type": "tpo-l", "beta": 10.0}),
        ({"label_smoothing": 0.1}, {"label_smoothing": 0.1}),
    ],
)
def test_three_steps_of_trls_tpo_trainer_give_the_same_weights(tmp_path, model, params, settings):
    from trl.experimental.tpo import TPOConfig, TPOTrainer

    how = {"objective": "tpo", "params": params, "max_steps": STEPS, **PLAIN}
    trained = fit(pairs_job(tmp_path, model, **how))
    running, rows = rows_of(pairs_job(tmp_path, model, **how), trained.row_ids)
    trainer = plainly(TPOTrainer, TPOConfig, running, rows, tmp_path, max_length=None, max_steps=STEPS, **{"beta": 0.01} | settings)
    assert trained.loss == pytest.approx(trainer.train().training_loss, rel=1e-5)
    assert_the_same_weights(trained, trainer.model)


def test_the_losses_of_trls_cpo_and_orpo_trainers():
    from trl.experimental.cpo import CPOTrainer
    from trl.experimental.orpo import ORPOTrainer

    torch.manual_seed(0)
    tokens = {"chosen_tokens": torch.tensor([5.0, 9.0, 4.0]), "rejected_tokens": torch.tensor([6.0, 7.0, 8.0])}
    sums_ = {"chosen": -3 * torch.rand(3) * tokens["chosen_tokens"], "rejected": -3 * torch.rand(3) * tokens["rejected_tokens"]}
    means = [sums_[side] / tokens[f"{side}_tokens"] for side in ("chosen", "rejected")]

    def theirs(trainer, beta, kind, smoothing=0.0, **given):
        place = SimpleNamespace(device="cpu")
        own = SimpleNamespace(beta=beta, loss_type=kind, label_smoothing=smoothing, alpha=0.0, accelerator=place, **given)
        return lambda a, b: getattr(trainer, "cpo_loss" if trainer is CPOTrainer else "odds_ratio_loss")(own, a, b)[0]

    def ours(name, **params):
        return loss_of(name, params, {}, **sums_, **tokens)

    close = {"rtol": 0, "atol": 1e-6}
    sides = sums_["chosen"], sums_["rejected"]
    torch.testing.assert_close(ours("cpo", nll=0.0), theirs(CPOTrainer, 0.1, "sigmoid")(*sides), **close)
    torch.testing.assert_close(ours("cpo", nll=0.0, label_smoothing=0.2), theirs(CPOTrainer, 0.1, "sigmoid", 0.2)(*sides), **close)
    torch.testing.assert_close(ours("cpo", nll=0.0, form="hinge"), theirs(CPOTrainer, 0.1, "hinge")(*sides), **close)
    simpo = theirs(CPOTrainer, 2.0, "simpo", 0.1, simpo_gamma=0.7)
    torch.testing.assert_close(ours("simpo", beta=2.0, gamma=0.7, label_smoothing=0.1), simpo(*means), **close)
    likelihood = -sums_["chosen"].sum() / tokens["chosen_tokens"].sum()
    odds = theirs(ORPOTrainer, 0.3, "")(*means)
    torch.testing.assert_close(ours("orpo", weight=0.3).mean(), likelihood - odds.mean(), **close)
    torch.testing.assert_close(ours("cpo", nll=0.5).mean(), theirs(CPOTrainer, 0.1, "sigmoid")(*sides).mean() + 0.5 * likelihood, **close)


def test_the_likelihood_over_a_batch_is_that_of_the_whole_batch_in_each_of_its_parts():
    chosen, tokens = torch.tensor([-4.0, -9.0]), torch.tensor([4.0, 12.0])
    whole = PairValues(chosen, chosen, tokens, tokens, mean_tokens={"chosen": 8.0})
    parts = [PairValues(*[column[i : i + 1] for column in (chosen, chosen, tokens, tokens)], mean_tokens={"chosen": 8.0}) for i in (0, 1)]
    assert torch.cat([nll(part, "batch") for part in parts]).tolist() == nll(whole, "batch").tolist()
    assert nll(whole, "batch").mean().item() == pytest.approx(13 / 16)


def test_dropout_is_off_as_in_trl(tmp_path, model):
    from engine.spec import Lora

    one, other = (fit(pairs_job(tmp_path / str(p), model, max_steps=2, lora=Lora(r=2, dropout=p))) for p in (0.0, 0.5))
    assert one.loss == other.loss


def test_pairs_that_a_loss_cannot_take_are_named(tmp_path, model):
    rows = pairs(4)
    rows[2]["weight"] = 2.0
    with pytest.raises(StepError, match=rf"pair {rows[2]['row_id']} has weight 2.0 and pair {rows[0]['row_id']} has 1.0"):
        fit(pairs_job(tmp_path, model, rows, objective="aot"))
