"""SAMI: the catalogue's matrix, whole matrices in a batch, and a model that learns to tell constitutions apart."""

from __future__ import annotations

import math

import pytest
import torch

from engine.errors import StepError
from engine.train import objective
from engine.train.methods.sami import loss, matrices
from train_small import job, untrained

A = [[-1.0, -1.5], [-2.0, -1.2]]  # arXiv 2404.14313: row loss 0.4225888, column loss 0.4338085


def entry(prompt: int, i: int, j: int) -> dict:
    """Constitution i and the answer written under constitution j."""
    said = [("user", f"{'polite' if i else 'rude'}: say {prompt}"), ("assistant", f" {'please' if j else 'no'} {prompt}")]
    messages = [{"role": r, "content": c, "origin": "gold", "weight": float(r == "assistant")} for r, c in said]
    own = {"row_id": f"{prompt:02d}{i}{j}", "prompt_id": f"p{prompt}", "messages": messages, "weight": 1.0}
    return own | {"origin": "generation", "source_round": 0, "extra": [("constitution", float(i)), ("response", float(j))]}


def entries(n: int = 8) -> list[dict]:
    return [entry(p, i, j) for p in range(n) for i in (0, 1) for j in (0, 1)]


def sami(one):
    return objective(one.settings).train(one)


def logged(trained, metric):
    return [row["value"] for row in trained.log if row["metric"] == metric]


def test_the_loss_of_the_catalogue():
    assert float(loss(torch.tensor(A))) == pytest.approx(0.4281986, abs=2e-6)
    assert math.log(2) - float(loss(torch.tensor(A))) == pytest.approx(0.264949, abs=2e-6)
    assert float(loss(torch.tensor([[-1.0, -1.0], [-1.0, -1.0]]))) == pytest.approx(math.log(2), abs=1e-7)


def test_a_model_learns_which_answer_was_written_under_which_constitution(tmp_path):
    rows = entries()
    model = untrained(tmp_path / "model", rows)
    made = sami(job(tmp_path, model, rows, objective="sami", epochs=12, batch_size=2, log_every=6))
    assert (made.rows_trained, made.steps) == (12 * 32, 48)
    for at in range(0, made.rows_trained, 4):  # four rows at a time are one prompt's matrix, row by row
        own = made.row_ids[at : at + 4]
        assert own == [f"{own[0][:2]}{ij}" for ij in ("00", "01", "10", "11")]
    assert logged(made, "loss")[0] == pytest.approx(math.log(2), abs=0.25) and logged(made, "loss")[-1] < 0.2
    assert logged(made, "accuracy")[-1] == 1 and logged(made, "mutual_information")[-1] > 0.5


def test_the_first_loss_is_that_of_the_untrained_model(tmp_path):
    """Mean log-probabilities a token from transformers alone, without the end token; with it another loss."""
    from engine import models
    from train_small import CPU

    rows = entries(1)
    path = untrained(tmp_path / "model", rows)
    model, words = models.load(path, CPU)
    means = []
    for row in rows:
        prompt, answer = (words(m["content"], add_special_tokens=False)["input_ids"] for m in row["messages"])
        with torch.no_grad():
            logps = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        means.append(float(sum(logps[len(prompt) + k - 1, token] for k, token in enumerate(answer))) / len(answer))
    expected = float(loss(torch.tensor(means).view(2, 2)))
    how = {"objective": "sami", "max_steps": 1, "batch_size": 1, "log_every": 1}
    assert logged(sami(job(tmp_path / "a", path, rows, **how)), "loss") == [pytest.approx(expected, abs=1e-5)]
    assert logged(sami(job(tmp_path / "b", path, rows, params={"end_token": True}, **how)), "loss") != [pytest.approx(expected, abs=1e-5)]


def test_a_matrix_is_whole_or_an_error():
    assert matrices(entries(2)) == {"p0/0": [0, 1, 2, 3], "p1/0": [4, 5, 6, 7]}
    assert matrices(entries(1)[::-1]) == {"p0/0": [3, 2, 1, 0]}
    with pytest.raises(StepError, match=r"prompt p0: expected a square matrix .* found 3 rows"):
        matrices(entries(1)[:3])
    with pytest.raises(StepError, match=r"row 0001 has the place \(0.0, 1.0\) of another row"):
        matrices([*entries(1), entry(0, 0, 1)])
    with pytest.raises(StepError, match="row 0000 has no place in a matrix"):
        matrices([entry(0, 0, 0) | {"extra": None}])
