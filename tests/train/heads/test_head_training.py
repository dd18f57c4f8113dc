"""Objectives with a head, trained for real on a tiny model: what they learn, and that the scorers read the folder as it is."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
import torch

import heads_tiny
from engine import models
from engine.errors import ModelError, StepError
from engine.score.heads import bald
from score.comparers.compare_answers import comparer, questions
from score.measures.read_answers import ReadContext, measure, rollouts, values
from train.heads.heads_small import headed, message, pairs, table, train
from train_small import CPU, Events, files, untrained

LONG = {"max_length": 160, "log_every": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained language model with room for two answers."""
    import train_small

    folder, kept = tmp_path_factory.mktemp("model"), train_small.TINY
    train_small.TINY = kept.model_copy(update={"positions": 192})
    try:
        return untrained(folder)
    finally:
        train_small.TINY = kept


def logged(trained, metric):
    return [row["value"] for row in trained.log if row["metric"] == metric]


def both(row):
    asked = row["messages"][0]["content"]
    return [(asked, row["chosen"][0]["content"]), (asked, row["rejected"][0]["content"])]


def test_a_reward_model_learns_and_the_measure_reads_it(tmp_path, model):
    rows = pairs()
    made = train(headed(tmp_path, model, table(rows), "reward_model", epochs=4, **LONG))
    assert (made.rows_trained, made.rows_expected) == (96, 96) and set(made.row_ids) == {row["row_id"] for row in rows}
    assert logged(made, "accuracy")[-1] == 1 and logged(made, "loss")[-1] < 0.1 < logged(made, "loss")[0]
    config = json.loads((made.folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"] and config["id2label"] == {"0": "reward"}
    texts = [text for row in rows[:6] for text in both(row)]
    ctx = ReadContext(tmp_path, {})
    found = values(measure("reward_model", model="out").measure(ctx, rollouts(texts)))
    assert found == pytest.approx([heads_tiny.plain(made.folder, "".join(text))[0] for text in texts], abs=0.00051)
    assert all(chosen > rejected for chosen, rejected in zip(found[::2], found[1::2], strict=True))


def test_a_preference_model_learns_and_the_comparer_reads_it_with_doubt(tmp_path, model):
    rows, params = pairs(), {"dropout": 0.1}
    made = train(headed(tmp_path, model, table(rows), "preference_model", epochs=4, params=params, role="estimator", **LONG))
    assert logged(made, "accuracy")[-1] == 1
    asked = [(ask, chosen, rejected) for row in rows[:4] for (ask, chosen), (_, rejected) in [both(row)]]
    asked += [(ask, second, first) for ask, first, second in asked]
    judge = comparer("preference_model", model="out", passes=4, sites="linear", dropout=0.1)
    found = judge.compare(ReadContext(tmp_path, {}), questions(asked)).to_pylist()
    assert all((row["probability"] > 0.5) == (i < 4) for i, row in enumerate(found))
    assert all(0 < row["uncertainty"] <= bald.entropy(0.5) for row in found)


def test_heads_of_their_own(tmp_path, model):
    """One head likes the right sums, the other the wrong ones."""
    rows = [row | {"extra": [("right", 1.0), ("wrong", -2.0)]} for row in pairs()]
    made = train(headed(tmp_path, model, table(rows), "reward_model", epochs=4, params={"heads": ["right", "wrong"]}, **LONG))
    texts = [text for row in rows[:4] for text in both(row)]
    found = measure("reward_model", model="out", heads=["right", "wrong"]).measure(ReadContext(tmp_path, {}), rollouts(texts))
    right, wrong = values(found, "_right"), values(found, "_wrong")
    assert all(a > b for a, b in zip(right[::2], right[1::2], strict=True))
    assert all(a < b for a, b in zip(wrong[::2], wrong[1::2], strict=True))
    assert made.rows_trained == 96


def test_scores_are_learned_by_heads_that_have_them(tmp_path, model):
    rows = []
    for i in range(24):
        said = [message("user", f"Add {i} and 3."), message("assistant", " yes!" if i % 2 else " no?")]
        extra = [("mood", 2.0 if i % 2 else -1.0)] + ([("half", 0.5)] if i % 3 else [])
        rows.append(
            {"row_id": f"r{i}", "prompt_id": "p", "messages": said, "weight": 1.0, "origin": "gold", "source_round": 0, "extra": extra}
        )
    heads = {"heads": ["mood", "half"]}
    made = train(headed(tmp_path, model, table(rows, "selected"), "reward_regression", epochs=10, params=heads, **LONG))
    assert logged(made, "loss")[-1] < 0.1 * logged(made, "loss")[0]
    found = measure("reward_model", model="out", **heads).measure(
        ReadContext(tmp_path, {}), rollouts([("Add 3 and 3.", " yes!"), ("Add 2 and 3.", " no?")])
    )
    assert values(found, "_mood") == pytest.approx([2.0, -1.0], abs=0.5)


def test_the_model_that_it_starts_from(tmp_path, model):
    """A head is drawn from the seed; a classifier goes on with its own, and must have as many outputs."""
    few = {"max_steps": 1, "learning_rate": 1e-12, **LONG}
    first = train(headed(tmp_path / "a", model, table(pairs()), "reward_model", **few)).folder
    again = train(headed(tmp_path / "b", model, table(pairs()), "reward_model", **few)).folder
    other = train(headed(tmp_path / "c", model, table(pairs()), "reward_model", role="second", **few)).folder
    loaded, _ = models.load(first, CPU, kind="SequenceClassification")
    head = loaded.score.weight.detach()
    assert models.digest(first) == models.digest(again) != models.digest(other)
    assert 0.1 < float(head.std()) * (16 + 1) ** 0.5 < 3
    body, _ = models.load(model, CPU)
    assert torch.allclose(loaded.model.embed_tokens.weight, body.model.embed_tokens.weight, atol=1e-6)
    on = train(headed(tmp_path / "d", first, table(pairs()), "reward_model", **few)).folder
    assert torch.allclose(models.load(on, CPU, kind="SequenceClassification")[0].score.weight, head, atol=1e-6)
    with pytest.raises(ModelError, match=r"the head has 1 outputs, and 2 train \(first, second\)"):
        train(headed(tmp_path / "e", first, table(pairs()), "preference_model", **few))


def test_a_killed_training_ends_with_the_same_weights_also_with_dropout(tmp_path, model):
    how = {"epochs": 2, "params": {"dropout": 0.2}, "save_every": 3, **LONG}
    whole = train(headed(tmp_path / "a", model, table(pairs()), "preference_model", **how))
    one = headed(tmp_path / "b", model, table(pairs()), "preference_model", **how)
    one.progress = Events(stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        train(one)
    one.progress = Events()
    again = train(one)
    assert again.detail["resumed_at"] == 3 and again.row_ids == whole.row_ids and again.log == whole.log
    assert files(again.folder)["model.safetensors"] == files(whole.folder)["model.safetensors"]
    assert files(train(headed(tmp_path / "c", model, table(pairs()), "preference_model", **(how | {"params": {}}))).folder) != files(
        whole.folder
    )


def test_parts_of_a_batch_give_the_gradient_of_the_batch(tmp_path, model):
    rows = [row | {"weight": 1.0 + i % 3} for i, row in enumerate(pairs())]
    whole = train(headed(tmp_path / "a", model, table(rows), "reward_model", max_steps=4, batch_size=6, **LONG))
    cut = train(headed(tmp_path / "b", model, table(rows), "reward_model", max_steps=4, batch_size=6, micro_batch=2, **LONG))
    assert logged(cut, "loss") == pytest.approx(logged(whole, "loss"), abs=1e-4)
    assert logged(cut, "accuracy") == pytest.approx(logged(whole, "accuracy"), abs=1e-6)


def test_an_adapter_trains_with_the_head_and_is_merged(tmp_path, model):
    rows = pairs()
    made = train(headed(tmp_path, model, table(rows), "reward_model", epochs=4, lora={"r": 4}, **LONG))
    assert logged(made, "accuracy")[-1] == 1
    found = values(measure("reward_model", model="out").measure(ReadContext(tmp_path, {}), rollouts(both(rows[0]))))
    assert found[0] > found[1]


def test_rows_that_never_train_say_how_good_it_is(tmp_path, model):
    made = train(headed(tmp_path, model, table(pairs()), "reward_model", epochs=4, hold_out={"share": 0.25, "every": 3}, **LONG))
    assert logged(made, "held_out/accuracy")[-1] == 1 and len(logged(made, "held_out/accuracy")) == len(logged(made, "held_out/loss")) > 1
    assert made.detail["held_out"] > 0 and len(set(made.row_ids)) == 24 - made.detail["held_out"]


def test_what_cannot_train_is_named(tmp_path, model):
    rows = pairs(8)
    rows[3]["chosen"][0]["content"] = "long " * 200
    with pytest.raises(StepError, match=f"row {rows[3]['row_id']}: a text of .* allowed are 1 to 160"):
        train(headed(tmp_path / "a", model, table(rows), "reward_model", **LONG))
    nothing = pa.table(table(pairs(4)).set_column(table([]).column_names.index("weight"), "weight", pa.array([0.0] * 4)))
    with pytest.raises(StepError, match="the loss is nan; rows of its batch"):
        train(headed(tmp_path / "b", model, nothing, "reward_model", **LONG))
    with pytest.raises(StepError, match="no place for dropout"):
        train(headed(tmp_path / "c", model, table(pairs(4)), "reward_model", params={"dropout": 0.1, "sites": "own"}, **LONG))
