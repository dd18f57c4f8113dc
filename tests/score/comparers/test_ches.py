"""Comparer `ches`: the score by hand, by hidden states, and what it warns of."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from engine import models
from engine.score.comparers.ches import ches
from generate_tiny import CPU, save
from score.comparers.compare_answers import comparer, questions
from score.measures.read_answers import ReadContext

ROWS = [("one?", "yes", "no"), ("one?", "no", "yes"), ("two?", "4", "4"), ("two?", "four " * 4, "4")]


def run(folder, rows=ROWS, name="run", **given):
    (folder / name).mkdir()
    ctx = ReadContext(folder / name, {"policy": folder / "m"})
    return comparer("ches", **given).compare(ctx, questions(rows)).sort_by("key"), ctx


def summed(*states):
    return np.sum(states, axis=0, dtype=np.float64), len(states)


def test_by_hand():
    plain, normalised = ches(summed((1, 0), (0, 1)), summed((1, 1), (2, 0), (0, 3)))
    assert plain == 5 and round(normalised, 6) == 0.666667
    same = summed((0.1, 0.7), (0.3, 0.2))
    assert ches(same, same) == (0, 0)


def test_what_it_warns_of():
    """A step along W_w - W_l at a shared hidden state lowers the preferred token while the margin grows."""
    tokens, at = np.array([[1, 0], [0.5, -0.8], [1, 1]]), {}
    for size in (0, 0.1, 0.5, 1):
        logits = tokens @ (size * (tokens[0] - tokens[1]))
        at[size] = logits - np.log(np.exp(logits).sum())
    assert [round(float(at[size][0]), 6) for size in at] == [-1.098612, -1.09799, -1.141879, -1.290938]
    assert [round(float(at[size][0] - at[size][1]), 3) for size in at] == [0, 0.089, 0.445, 0.89]
    assert [round(float(np.exp(at[size][2])), 5) for size in (0.1, 0.5, 1)] == [0.36132, 0.47622, 0.61205]


def states(path, ask, answer):
    """Hidden states from the last prompt token to the last token of the answer; the end token's own is left out."""
    model, words = models.load(path, CPU)
    prompt, own = words(ask)["input_ids"], words(answer)["input_ids"] + [0]
    with torch.no_grad():
        hidden = model(torch.tensor([prompt + own]), output_hidden_states=True).hidden_states[-1][0].double().numpy()
    return hidden[len(prompt) - 1 : -1]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_by_the_models_hidden_states(tmp_path, kind):
    save(tmp_path / "m", kind)
    made, _ = run(tmp_path)
    other, _ = run(tmp_path, name="normalised", length_norm=True)
    assert "probability" not in made.column_names
    for (ask, first, second), value, normalised in zip(ROWS, made["value"].to_pylist(), other["value"].to_pylist(), strict=True):
        plus, minus = states(tmp_path / "m", ask, first), states(tmp_path / "m", ask, second)
        assert (len(plus), len(minus)) == (len(first) + 1, len(second) + 1)
        assert value == pytest.approx(plus.sum(axis=0) @ minus.sum(axis=0) - (plus.sum(axis=0) ** 2).sum(), rel=1e-4, abs=1e-6)
        assert normalised == pytest.approx(plus.mean(axis=0) @ minus.mean(axis=0) - (plus.mean(axis=0) ** 2).sum(), rel=1e-4, abs=1e-6)
    assert made["value"].to_pylist()[2] == 0, "equal answers"
    assert json.loads(made["detail"].to_pylist()[0])["length_normalised"] == other["value"].to_pylist()[0]


def test_a_pair_does_not_depend_on_the_others(tmp_path):
    save(tmp_path / "m")
    whole, _ = run(tmp_path)
    alone, _ = run(tmp_path, ROWS[1:2], "alone")
    assert alone["value"].to_pylist() == whole["value"].to_pylist()[1:2]


def test_a_pair_with_a_long_answer_has_no_number(tmp_path):
    save(tmp_path / "m", max_position_embeddings=20)
    made, ctx = run(tmp_path)
    assert [value is None for value in made["value"].to_pylist()] == [False, False, False, True]
    assert "20 tokens allowed" in made["detail"].to_pylist()[3] and any("1 of 4 pairs" in note for note in ctx.progress.notes)
    none, _ = run(tmp_path, ROWS[3:], "none")
    assert none["value"].to_pylist() == [None]
