"""Real trainings on pairs: every objective, weights of rows, kills, adapters, and what stops one."""

import math

import pytest
import torch
from safetensors.torch import load_file

from engine import models
from engine.errors import SpecError, StepError
from engine.spec import Lora, Train
from engine.train import objective, objectives
from pairs_small import EXTRA, fit, pair_objectives, pairs, pairs_job, table
from train_small import Events, sums, untrained

SOME = {"rpo": {"scale": "batch", "coefficient": 1.0}, "upo": {"nll": 0.1}, "dpo": {"nll": 1.0}}  # params with every term


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("model"), sums(16))


def logs(trained, metric):
    return [row["value"] for row in trained.log if row["metric"] == metric]


@pytest.mark.parametrize("name", pair_objectives())
def test_every_objective_trains(tmp_path, model, name):
    trained = fit(pairs_job(tmp_path, model, objective=name, params=SOME.get(name, {}), batch_size=8, log_every=1))
    assert trained.steps == 2 and sorted(trained.row_ids) == sorted(row["row_id"] for row in pairs())
    before, after = load_file(model / "model.safetensors"), load_file(trained.folder / "model.safetensors")
    assert all(torch.isfinite(weight).all() for weight in after.values())
    assert any((after[key] != before[key]).any() for key in after)
    assert math.isfinite(trained.loss) and trained.loss == pytest.approx(sum(logs(trained, "loss")) / 2)
    for metric in ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen", "grad_norm"):
        assert len(logs(trained, metric)) == 2
    assert len(logs(trained, "kl")) == (2 if objectives.load(name).reference == "values" else 0)
    margins = [a - b for a, b in zip(logs(trained, "rewards/chosen"), logs(trained, "rewards/rejected"), strict=True)]
    assert logs(trained, "rewards/margins") == pytest.approx(margins, abs=1e-4)


def test_the_loss_of_one_batch_by_its_definition(tmp_path, model):
    rows = pairs(4)
    for row, weight in zip(rows, (1.0, 0.5, 3.0, 0.25), strict=True):
        row["weight"] = weight
    trained = fit(pairs_job(tmp_path, model, rows, max_steps=1))
    from engine.train import pairrows
    from engine.train.running import Running

    job = pairs_job(tmp_path / "again", model, rows)
    running = Running(job)
    loaded = running.model.eval()
    total = weights = 0.0
    for made in pairrows.encoded(job.rows, running, objective(job.settings)):
        logps = []
        for side in made.sides:
            with torch.no_grad():
                found = loaded(torch.from_numpy(side.ids)[None]).logits[0].double().log_softmax(-1)
            logps.append(sum(found[i - 1, side.ids[i]].item() for i in range(1, len(side.ids)) if side.weights[i]))
        z = 0.1 * (logps[0] - made.numbers["ref_chosen"] - logps[1] + made.numbers["ref_rejected"])
        total, weights = total + made.weight * math.log1p(math.exp(-z)), weights + made.weight
    assert trained.loss == pytest.approx(total / weights, rel=1e-6)
    assert abs(trained.loss - fit(pairs_job(tmp_path / "equal", model, pairs(4), max_steps=1)).loss) > 1e-4


@pytest.mark.parametrize("name", ["dpo", "tpo", "orpo"])
def test_the_head_in_tiles_and_parts_of_batches_give_the_same_weights(tmp_path, model, name, monkeypatch):
    def after(folder, **more):
        how = {"objective": name, "params": SOME.get(name, {}), "max_steps": 2, "optimizer": "sgd", "learning_rate": 0.05}
        rows = pairs()
        for i, row in enumerate(rows):
            row["weight"] = 1 + i % 3
        trained = fit(pairs_job(tmp_path / folder, model, rows, **how, **more))
        return trained, load_file(trained.folder / "model.safetensors")

    whole, weights = after("whole")
    parts, in_parts = after("parts", micro_batch=3)
    monkeypatch.setattr("engine.train.head.SMALL", 0)
    tiled, in_tiles = after("tiles")
    for other, found in ((parts, in_parts), (tiled, in_tiles)):
        assert other.loss == pytest.approx(whole.loss, rel=1e-5)
        assert [row["metric"] for row in other.log] == [row["metric"] for row in whole.log]
        assert [row["value"] for row in other.log] == pytest.approx([row["value"] for row in whole.log], rel=1e-4, abs=1e-5)
        for key, weight in weights.items():
            torch.testing.assert_close(found[key], weight, rtol=0, atol=1e-6)


def test_batches_of_aot_cannot_be_cut():
    how = {"objective": "aot", "init": "previous", "reference": "previous", "data": "round", "micro_batch": 2}
    with pytest.raises(SpecError, match="micro_batch"):
        objective(Train(**how))


def test_training_raises_the_margin(tmp_path, model):
    trained = fit(pairs_job(tmp_path, model, epochs=6, learning_rate=1e-2, params={"beta": 0.5}))
    margins, accuracies = logs(trained, "rewards/margins"), logs(trained, "rewards/accuracies")
    assert sum(margins[-4:]) > sum(margins[:4]) + 4
    assert sum(accuracies[-4:]) > sum(accuracies[:4])


@pytest.mark.parametrize("lora", [None, Lora(r=2, dropout=0.3)])
def test_a_training_that_was_cut_goes_on_to_the_same_weights(tmp_path, model, lora):
    how = {"epochs": 2, "lora": lora, "params": {"nll": 0.5}, "log_every": 3}
    whole = fit(pairs_job(tmp_path / "whole", model, **how))
    with pytest.raises(KeyboardInterrupt):
        fit(pairs_job(tmp_path / "cut", model, **how, progress=Events(stop_at=6)))
    again = fit(pairs_job(tmp_path / "cut", model, **how))
    assert again.detail["resumed_at"] == 4
    assert models.digest(again.folder) == models.digest(whole.folder) != models.digest(model)
    assert (again.row_ids, again.loss, again.log) == (whole.row_ids, whole.loss, whole.log)


def test_the_same_rows_in_another_order_train_the_same(tmp_path, model):
    one, two = fit(pairs_job(tmp_path / "a", model)), fit(pairs_job(tmp_path / "b", model, pairs()[::-1]))
    assert one.row_ids == two.row_ids and models.digest(one.folder) == models.digest(two.folder)


@pytest.mark.parametrize(
    "name, params, change, expected",
    [
        ("sppo", {}, {"extra": {"win_chosen": 0.5}}, "needs win_rejected between 0 and 1, found none"),
        ("sppo", {}, {"extra": EXTRA | {"win_chosen": 1.5}}, "needs win_chosen between 0 and 1, found 1.5"),
        ("sppo", {"targets": "single"}, {"probability": None}, "needs probability between 0 and 1, found none"),
        ("cream", {}, {"probability": 1.01}, "needs probability between 0 and 1, found 1.01"),
        ("upo", {}, {"extra": None}, "needs uncertainty of at least 0, found none"),
        ("reward_difference", {}, {"margin": math.nan}, "needs margin as a finite number, found nan"),
        ("reward_difference", {"rewards": ["a", "reward_chosen"]}, {}, "needs a as a finite number, found none"),
        ("dpo", {}, {"ref_rejected_logps": None}, "needs ref_rejected_logps as a finite number, found none"),
        ("dpo", {}, {"weight": 0.0}, "has weight 0.0, expected a finite one above 0"),
        ("dpo", {}, {"weight": math.inf}, "has weight inf, expected a finite one above 0"),
    ],
)
def test_numbers_that_are_missing_or_wrong_name_the_row_and_the_column(tmp_path, model, name, params, change, expected):
    rows = pairs(4)
    at = 0 if name == "reward_difference" and params else 2
    rows[at] |= change
    with pytest.raises(StepError) as error:
        fit(pairs_job(tmp_path, model, rows, objective=name, params=params))
    assert expected in str(error.value) and rows[at]["row_id"] in str(error.value)
    assert "column" in str(error.value)


def test_an_answer_that_is_missing_is_an_error(tmp_path, model):
    rows = pairs(4)
    del rows[1]["third"]
    with pytest.raises(StepError, match="1 of 4 pairs have no third answer"):
        fit(pairs_job(tmp_path, model, rows, objective="tpo"))


def test_a_loss_that_is_not_finite_stops_with_the_rows_of_its_batch(tmp_path, model):
    rows = pairs()
    rows[5]["ref_chosen_logps"] = -1e30  # its square is beyond float32
    with pytest.raises(StepError) as error:
        fit(pairs_job(tmp_path, model, rows, objective="ipo", params={"normalise": "none"}))
    assert rows[5]["row_id"] in str(error.value) and "the loss is inf" in str(error.value)
    assert sum(row["row_id"] in str(error.value) for row in rows) == 4
    assert not (tmp_path / "out").exists()


def test_inpo_asks_for_the_reference_that_its_settings_make(tmp_path):
    def check(reference, **params):
        train = Train(objective="inpo", init="previous", reference=reference, data="round", params=params)
        objective(train).check(None, train, tmp_path)

    check({"base": 0.333333, "previous": 0.666667})
    check({"base": 0.4, "previous": 0.6}, eta=0.5, tau=0.2)
    check("previous", tau=0.0)
    check("base", eta=0.1, tau=0.1)
    with pytest.raises(SpecError, match=r"tau 0\.0025 and eta 0\.0075") as error:
        check("previous")
    assert "reference: {base: 0.333333, previous: 0.666667}" in str(error.value)
    check({"base": 0.333333, "previous": 0.666667})  # what the message says can be written
    for wrong in ({"base": 0.6, "previous": 0.4}, {"base": 0.333333, "own": 0.666667}):
        with pytest.raises(SpecError, match="found"):
            check(wrong)
    with pytest.raises(SpecError, match="at most eta"):
        check("base", eta=0.1, tau=0.2)


def test_cpo_refuses_a_smoothed_hinge(tmp_path):
    train = Train(objective="cpo", init="previous", reference="none", data="round", params={"form": "hinge", "label_smoothing": 0.1})
    with pytest.raises(SpecError, match="label_smoothing: the hinge has none"):
        objective(train).check(None, train, tmp_path)


def test_rows_of_the_helper_have_what_every_objective_needs():
    row = table(pairs(1)).to_pylist()[0]
    for name in pair_objectives():
        from engine.train.pairwise import numbers_of

        assert None not in numbers_of(row, tuple(objectives.load(name)().columns)).values()
