"""Measure `reward_model`: against a plain forward pass, whatever the batch; heads, scales, what is too long, and wrong folders."""

from __future__ import annotations

import math
import random

import pytest
import torch

import generate_tiny
import heads_tiny
from engine import models, operators
from engine.errors import ModelError, SpecError, StepError
from engine.score.heads import classifier
from engine.score.measures.reward_model import Scaled
from heads_tiny import CHAT, plain
from score.measures.read_answers import TEXTS, ReadContext, measure, rollouts, values


def ctx(folder):
    return ReadContext(folder, {})


@pytest.mark.parametrize(("kind", "template"), [("llama", None), ("llama", CHAT), ("bert", None)])
def test_numbers_are_those_of_a_plain_forward_pass(tmp_path, kind, template):
    path = heads_tiny.save(tmp_path / "rm", kind=kind, template=template)
    made = values(measure("reward_model", model="rm").measure(ctx(tmp_path), rollouts(TEXTS)))
    shown = [f"[user] {ask}\n[assistant] {answer}\n" if template else f"{ask}{answer}" for ask, answer in TEXTS]
    assert made == [pytest.approx(plain(path, text)[0], abs=0.00051) for text in shown]
    assert len(set(made)) == len(TEXTS) and all(value == round(value, 3) for value in made)


def test_a_text_of_ones_own_frames_prompt_and_answer_once(tmp_path):
    path = heads_tiny.save(tmp_path / "rm")
    one = measure("reward_model", model="rm", template="Q {prompt} A {response}.")
    made = values(one.measure(ctx(tmp_path), rollouts([("a{response}b", "c{prompt}")])))
    assert made == [pytest.approx(plain(path, "Q a{response}b A c{prompt}.")[0], abs=0.00051)]
    with pytest.raises(SpecError, match=r"the text lacks \{response\}"):
        measure("reward_model", model="rm", template="Q {prompt}")
    with pytest.raises(SpecError, match="give one of the two"):
        measure("reward_model", model="rm", template="Q {prompt} A {response}.", chat=True)


def test_a_text_of_ones_own_comes_before_the_models_template(tmp_path):
    path = heads_tiny.save(tmp_path / "rm", template=CHAT)
    one = measure("reward_model", model="rm", template="Q {prompt} A {response}.")
    assert values(one.measure(ctx(tmp_path), rollouts([("a", "b")]))) == [pytest.approx(plain(path, "Q a A b.")[0], abs=0.00051)]


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_a_number_depends_on_no_other_row(tmp_path, monkeypatch, kind):
    """Also where the model names no padding token and rows end in the one that pads."""
    heads_tiny.save(tmp_path / "rm", kind=kind)
    texts = [(f"what {i}?", f"{i * 37 % 101} and " * (i % 5) + str(i) + "~" * (i % 3)) for i in range(60)]  # ~ is unknown: token 1
    rows, one = rollouts(texts), measure("reward_model", model="rm")
    whole = values(one.measure(ctx(tmp_path), rows))
    monkeypatch.setattr(classifier, "CPU_TOKENS", 1)
    (tmp_path / "rows").mkdir()
    named = measure("reward_model", model="../rm")
    assert values(named.measure(ctx(tmp_path / "rows"), rows)) == whole
    mixed = random.Random(1).sample(range(60), 60)
    monkeypatch.setattr(classifier, "CPU_TOKENS", 300)
    (tmp_path / "mixed").mkdir()
    assert values(named.measure(ctx(tmp_path / "mixed"), rows.take(mixed))) == whole


def test_the_padding_token_ends_no_row():
    """A causal head reads the last token that is not padding, so padding may be nothing that a row ends with."""
    assert classifier.pieces([5, 4, 3], 10) == [range(2), range(2, 3)] and classifier.pieces([], 10) == []
    one = object.__new__(classifier.Classifier)
    config = type("Config", (), {"pad_token_id": None})()
    one.model = type("Model", (), {"config": type("Outer", (), {"get_text_config": lambda self: config})()})()
    assert one._pad([torch.tensor([3, 0]).numpy(), torch.tensor([4, 1]).numpy()]) == 2
    config.pad_token_id = 7
    assert one._pad([torch.tensor([3, 7]).numpy()]) == 7


def test_each_head_has_a_column_and_a_scale(tmp_path):
    path = heads_tiny.save(tmp_path / "rm", labels=2)
    given = {"model": "rm", "heads": ["helpfulness", "verbosity"]}
    one = measure("reward_model", **given, scale=[0.05], offset=[-0.5])
    assert one.outputs == ("", "_helpfulness", "_verbosity")
    made = one.measure(ctx(tmp_path), rollouts(TEXTS))
    raw = [plain(path, ask + answer) for ask, answer in TEXTS]
    for head, suffix in enumerate(one.outputs[1:]):
        assert values(made, suffix) == [pytest.approx((own[head] - 10) / 20, abs=0.00003) for own in raw]
    pairs = zip(values(made, "_helpfulness"), values(made, "_verbosity"), strict=True)
    assert values(made) == [pytest.approx((a + b) / 2, abs=1e-11) for a, b in pairs]
    main = measure("reward_model", **given, main="verbosity").measure(ctx(tmp_path), rollouts(TEXTS))
    assert values(main) == values(main, "_verbosity") != values(main, "_helpfulness")


def test_scales_and_the_logistic_function():
    """HelpSteer's scale in DPA, and the shaped reward of Qwen2.5-Math less its verdict: sigmoid(r / 2)."""
    assert Scaled(model="m", heads=("a", "b"), scale=(0.05, 1), offset=(-0.5, 0)).scaled([70, 30]) == [3.0, 30.0]
    shaped = Scaled(model="m", scale=(0.5,), sigmoid=True)
    checks = [(2, 1, 0.731059), (-2, 1, 0.268941), (3, 0, -0.182426), (-1, 0, -0.622459)]
    assert [round(shaped.scaled([r])[0] + v - 1, 6) for r, v, _ in checks] == [value for _, _, value in checks]
    assert shaped.scaled([4000]) == [1.0] and shaped.scaled([-4000]) == [0.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"heads": ["a", "a"]}, "a name stands twice"),
        ({"heads": ["a", "b"], "main": "c"}, "expected one of the heads"),
        ({"heads": ["a", "b"], "scale": [1, 2, 3]}, "scale: expected 1 or 2 numbers, found 3"),
        ({"heads": ["a b"]}, "heads"),
        ({"max_lenght": 3}, "max_length"),
    ],
)
def test_settings_that_cannot_be(given, message):
    with pytest.raises(SpecError, match=message):
        measure("reward_model", model="rm", **given)


def test_a_row_that_is_too_long_gets_no_number_and_is_never_cut(tmp_path):
    heads_tiny.save(tmp_path / "rm", max_position_embeddings=40)
    now = ctx(tmp_path)
    made = measure("reward_model", model="rm").measure(now, rollouts(TEXTS))
    assert [value is None for value in values(made)] == [False, False, False, True, False, False]
    assert made[""]["detail"].to_pylist()[3] == "truncated: 54 tokens, 40 allowed" and any("1 of 6" in note for note in now.progress.notes)
    (tmp_path / "b").mkdir()
    none = measure("reward_model", model="../rm", max_length=1).measure(ctx(tmp_path / "b"), rollouts(TEXTS))
    assert values(none) == [None] * 6 and none[""]["value"].type == "double"


def test_wrong_folders_are_errors_before_any_work(tmp_path):
    now = ctx(tmp_path)
    heads_tiny.save(tmp_path / "two", labels=2)
    with pytest.raises(SpecError, match="has 2 outputs, expected 1"):
        measure("reward_model", model="two").settings(now.spec, 0, now.spec_path)
    with pytest.raises(SpecError, match="expected policy, base or a folder"):
        measure("reward_model", model="nowhere").settings(now.spec, 0, now.spec_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        measure("reward_model", model="empty").settings(now.spec, 0, now.spec_path)
    generate_tiny.save(tmp_path / "speaker", id2label={0: "x"}, label2id={"x": 0})
    with pytest.raises(ModelError, match=r"first score\.weight"):
        measure("reward_model", model="speaker").measure(now, rollouts(TEXTS))


def test_a_broken_head_is_an_error(tmp_path):
    path = heads_tiny.save(tmp_path / "rm")
    model, _ = models.load(path, generate_tiny.CPU, kind="SequenceClassification")
    with torch.no_grad():
        model.score.weight.fill_(math.nan)
    model.save_pretrained(path)
    with pytest.raises(StepError, match="expected 1 finite numbers"):
        measure("reward_model", model="rm").measure(ctx(tmp_path), rollouts(TEXTS))


def test_equal_texts_are_read_once_and_a_killed_measure_goes_on(tmp_path, monkeypatch):
    heads_tiny.save(tmp_path / "rm")
    rows = rollouts([*((f"{i}?", str(i)) for i in range(70)), ("0?", "0")])
    whole = values(measure("reward_model", model="rm").measure(ctx(tmp_path), rows))
    assert whole[70] == whole[0]
    append = operators.Journal.append

    def dies(self, name, batch):
        append(self, name, batch)
        raise KeyboardInterrupt

    (tmp_path / "killed").mkdir()
    now, one = ctx(tmp_path / "killed"), measure("reward_model", model="../rm")
    monkeypatch.setattr(operators.Journal, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        one.measure(now, rows)
    monkeypatch.undo()
    assert values(one.measure(now, rows)) == whole and now.progress.rows == 6  # 70 different texts, 64 in the journal
