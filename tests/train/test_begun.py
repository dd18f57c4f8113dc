"""Answers whose beginning is given: training sees what generation showed, and the beginning trains nothing."""

from __future__ import annotations

import pytest

from engine import models
from engine.errors import StepError
from engine.train.encode import Encoder
from train_small import row, selected, untrained

CHATML = (
    "{% for m in messages %}"
    "{% if loop.index0 and messages[loop.index0 - 1]['role'] == m['role'] %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + (m['content'] | trim) + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ASKED = [("user", "Add 1 and 2."), ("assistant", " 1+2", 0.0)]


@pytest.fixture(scope="module", params=["plain", "chat"])
def tokenizer(request, tmp_path_factory):
    from transformers import AutoTokenizer

    rows = [row("r", [*ASKED, ("assistant", "=3"), ("user", "<|>_assistant user system im start end")])]
    found = AutoTokenizer.from_pretrained(untrained(tmp_path_factory.mktemp("m"), rows))
    if request.param == "chat":
        found.add_special_tokens({"additional_special_tokens": ["<|im_start|>"], "eos_token": "<|im_end|>"})
        found.chat_template = CHATML
    return found


def encoded(tokenizer, messages, mask):
    return Encoder(tokenizer, mask=mask, chat=None, ends=(), limit=500).encode(selected([row("r", messages)]))[0]


@pytest.mark.parametrize("mask", ["last", "message"])
def test_training_follows_what_the_model_was_shown(tokenizer, mask):
    shown = models.render(tokenizer, [{"role": role, "content": text} for role, text, *_ in ASKED], None)
    plain = models.render(tokenizer, [{"role": "user", "content": "Add 1 and 2."}], None)
    assert shown == plain + " 1+2"
    prompt = models.encode(tokenizer, [shown], None)[0]
    example = encoded(tokenizer, [*ASKED, ("assistant", "=3", 1.0)], mask)
    assert example.ids[: len(prompt)].tolist() == prompt and not example.weights[: len(prompt)].any()
    assert tokenizer.decode(example.ids[len(prompt) :]) == "=3" + tokenizer.eos_token
    assert example.weights[len(prompt) :].tolist() == [1.0] * (len(example.ids) - len(prompt))


def test_a_beginning_that_would_train_is_an_error(tokenizer):
    with pytest.raises(StepError, match="row r: two answers stand next to each other and both train"):
        encoded(tokenizer, [*ASKED, ("assistant", "=3", 1.0)], "assistant")
