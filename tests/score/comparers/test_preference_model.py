"""Comparer `preference_model`: heads of one and two outputs, letters, and passes with dropout."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import heads_tiny
from engine import models
from engine.errors import SpecError
from engine.score.comparers.preference_model import chance, judged, shipped
from engine.score.heads import classifier
from generate_tiny import CPU, save
from heads_tiny import plain
from score.comparers.compare_answers import comparer, questions
from score.measures.read_answers import ReadContext

ROWS = [("one?", "yes 12", "no"), ("one?", "no", "yes 12"), ("two?", "4", "four " * 5), ("{first}", "{second}", "b")]
SHORT = "P {prompt} 1 {first} 2 {second}"


def shown(ask, first, second):
    return f"P {ask} 1 {first} 2 {second}"


def run(folder, rows=ROWS, name="run", **given):
    (folder / name).mkdir()
    return comparer("preference_model", **given).compare(ReadContext(folder / name, {}), questions(rows)).sort_by("key")


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("first_label", [0, 1])
def test_a_head_of_two_outputs_is_a_softmax(tmp_path, first_label):
    path = heads_tiny.save(tmp_path / "pm", labels=2)
    made = run(tmp_path, model="../pm", template=SHORT, first_label=first_label)
    heads = [plain(path, shown(*row)) for row in ROWS]
    expected = [math.exp(own[first_label]) / (math.exp(own[0]) + math.exp(own[1])) for own in heads]
    assert made["probability"].to_pylist() == pytest.approx(expected, abs=0.0003)
    assert made["uncertainty"].null_count == made["votes"].null_count == made["detail"].null_count == len(ROWS)


def test_a_head_of_one_output_is_a_logistic_function(tmp_path):
    path = heads_tiny.save(tmp_path / "pm")
    made = run(tmp_path, model="../pm", template=SHORT)
    assert made["probability"].to_pylist() == pytest.approx([sigmoid(plain(path, shown(*row))[0]) for row in ROWS], abs=0.0003)
    assert chance([0.5], 1) == chance([0.5], 0) and chance([2.0, 1.0], 0) == 1 - chance([2.0, 1.0], 1)


def test_the_shipped_text_and_a_chat_template(tmp_path):
    path = heads_tiny.save(tmp_path / "pm", template=heads_tiny.CHAT, max_position_embeddings=400)
    made = run(tmp_path, ROWS[:1], model="../pm", chat=True)
    text = "[user] Prompt: one?\n\nResponse #1: yes 12\n\nResponse #2: no\n"
    assert made["probability"].to_pylist() == [pytest.approx(sigmoid(plain(path, text)[0]), abs=0.0003)]
    assert all(name in shipped(kind) for kind in ("classifier", "letters") for name in ("{prompt}", "{first}", "{second}"))


def test_letters_of_a_language_model(tmp_path):
    path = save(tmp_path / "lm")
    made = run(tmp_path, model="../lm", kind="letters", template=SHORT)
    model, words = models.load(path, CPU)
    for row, probability in zip(ROWS, made["probability"].to_pylist(), strict=True):
        with torch.no_grad():
            last = model(torch.tensor([words(shown(*row))["input_ids"]])).logits[0, -1].double()
        a, b = (last[words(letter)["input_ids"][0]].item() for letter in "AB")
        assert probability == pytest.approx(sigmoid(a - b), abs=0.004)


def test_passes_vote_and_their_disagreement_is_uncertainty(tmp_path, monkeypatch):
    heads_tiny.save(tmp_path / "pm", labels=2, kind="bert")
    given = {"model": "../pm", "template": SHORT, "passes": 6}
    made = run(tmp_path, **given).to_pylist()
    for row in made:
        told = json.loads(row["detail"])
        passes = told["passes"]
        assert len(passes) == row["votes"] == 6 and len(set(passes)) > 1
        assert row["probability"] == pytest.approx(np.mean(passes)) and told["variance"] == pytest.approx(np.var(passes))
        assert told["votes_first"] == sum(p > 0.5 for p in passes) and 0 < row["uncertainty"] < math.log(2)
    monkeypatch.setattr(classifier, "CPU_TOKENS", 1)
    assert run(tmp_path, ROWS[2:3], "alone", **given).to_pylist() == [made[2] | {"key": "k0"}]


def test_the_numbers_of_upos_estimator():
    row = judged([0.9, 0.8, 0.6, 0.9], None, several=True)
    assert row["probability"] == 0.8 and round(row["uncertainty"], 6) == 0.044507 and json.loads(row["detail"])["votes_first"] == 4
    assert judged([1.0, 0.0], None, several=True)["uncertainty"] == pytest.approx(math.log(2))
    assert judged([0.7, 0.7], None, several=True)["uncertainty"] == 0


def test_what_is_too_long_has_no_probability(tmp_path):
    heads_tiny.save(tmp_path / "pm", max_position_embeddings=30)
    made = run(tmp_path, model="../pm", template=SHORT)
    assert made["probability"].to_pylist()[2] is None and made["detail"].to_pylist()[2] == "truncated: 38 tokens, 30 allowed"
    save(tmp_path / "lm", max_position_embeddings=30)
    letters = run(tmp_path, name="letters", model="../lm", template=SHORT, kind="letters")
    assert letters["probability"].to_pylist()[2] is None and letters["detail"].to_pylist()[2] == "the text is too long"


def test_settings_that_cannot_be(tmp_path):
    heads_tiny.save(tmp_path / "three", labels=3)
    ctx = ReadContext(tmp_path, {})
    with pytest.raises(SpecError, match="has 3 outputs, expected 1 or 2"):
        comparer("preference_model", model="three").settings(ctx.spec, 0, ctx.spec_path)
    with pytest.raises(SpecError, match="needs kind: classifier"):
        comparer("preference_model", model="m", kind="letters", passes=3)
    with pytest.raises(SpecError, match=r"lacks \{second\}"):
        comparer("preference_model", model="m", template="{prompt} {first}")
    with pytest.raises(SpecError, match="expected two different replies"):
        comparer("preference_model", model="m", kind="letters", letters=["A", "A"])
