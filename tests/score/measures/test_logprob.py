"""Measure `logprob`: against a slow reference, whatever the batch; what it leaves out and what it does once."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from engine import models, operators
from engine.errors import SpecError, StepError
from engine.generate.decoding.decode import Decoder
from engine.generate.decoding.running import Question
from engine.generate.decoding.sampler import Sampling
from engine.score import forced
from engine.score.reader import Reader
from engine.step import Ref
from generate_tiny import CPU, save, spec
from score.measures.read_answers import TEXTS, ReadContext, measure, rollouts, values

TEMPLATE = "Q {{ messages[0].content }}:{% if add_generation_prompt %} {% else %} {{ messages[1].content }}{% endif %}"


def slow(path, ask, answer, end=True):
    """Log-probabilities of an answer's tokens and the end token, one row at a time in float64."""
    model, words = models.load(path, CPU)
    prompt, own = words(ask)["input_ids"], words(answer)["input_ids"] + ([0] if end else [])
    with torch.no_grad():
        logprobs = model.double()(torch.tensor([prompt + own])).logits[0].log_softmax(dim=1)
    return [logprobs[len(prompt) - 1 + i, token].item() for i, token in enumerate(own)]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
def test_sums_and_means_are_those_of_a_slow_reference(tmp_path, kind):
    ctx = ReadContext(tmp_path, {"policy": save(tmp_path / "m", kind)})
    made = measure("logprob").measure(ctx, rollouts(TEXTS))
    reference = [slow(tmp_path / "m", *text) for text in TEXTS]
    assert values(made, "_tokens") == [len(text) + 1 for _, text in TEXTS]
    for total, mean, own in zip(values(made), values(made, "_mean"), reference, strict=True):
        assert total == pytest.approx(sum(own), abs=0.0051) and total == round(total, 2)
        assert mean == pytest.approx(sum(own) / len(own), abs=0.000051) and mean == round(mean, 4)


def test_the_end_token_can_be_left_out(tmp_path):
    ctx = ReadContext(tmp_path, {"policy": save(tmp_path / "m")})
    made = measure("logprob", end_token=False).measure(ctx, rollouts(TEXTS))
    for text, total, tokens in zip(TEXTS, values(made), values(made, "_tokens"), strict=True):
        if text[1]:
            assert total == pytest.approx(sum(slow(tmp_path / "m", *text, end=False)), abs=0.0051) and tokens == len(text[1])
        else:
            assert total is None and tokens is None
    assert made[""]["detail"].to_pylist()[4] == "no token to read"


def test_what_generation_sampled_is_what_the_measure_reads(tmp_path):
    """The prompt is shown as in generation: the log-probability of a sampled answer is the sampler's own."""
    path = save(tmp_path / "m", template=TEMPLATE)
    model, words = models.load(path, CPU)
    prompt = models.encode(words, [models.render(words, [{"role": "user", "content": "abc"}], None)], None)
    asked = Question(prompt[0], np.arange(40, dtype=np.uint64), Sampling(), 24)
    answers = [answer for some in Decoder(model, {0}, None, 40).decode([asked]) for answer in some if answer.stopped]
    texts = [words.decode(answer.tokens[:-1]) for answer in answers]
    ended = [one for one, text in zip(answers, texts, strict=True) if words(text)["input_ids"] == one.tokens[:-1].tolist()]
    assert len(ended) > 3
    rows = rollouts([("abc", words.decode(answer.tokens[:-1])) for answer in ended])
    made = measure("logprob").measure(ReadContext(tmp_path, {"policy": path}), rows)
    assert values(made) == [answer.logprob for answer in ended]


def test_only_the_answer_counts(tmp_path):
    """Masked prompt: a model that does not look at the prompt gives an answer the same number after any prompt."""
    path = save(tmp_path / "m", num_hidden_layers=0)
    made = measure("logprob").measure(ReadContext(tmp_path, {"policy": path}), rollouts([("a?", "yes"), ("a much longer one?", "yes")]))
    assert values(made)[0] == values(made)[1] and values(made, "_tokens") == [4, 4]


def test_a_number_depends_on_no_other_row(tmp_path):
    """Random subsets, one row at a time, and forward passes of other sizes give the same bits."""
    texts = [(f"what {i}?", f"{i * 37 % 101} and " * (i % 5) + str(i)) for i in range(60)]
    ctx = ReadContext(tmp_path, {"policy": save(tmp_path / "m")})
    rows, one = rollouts(texts), measure("logprob")
    whole = one.measure(ctx, rows)
    for part in (slice(0, 7), slice(20, 33), slice(59, 60)):
        picked = rows.slice(part.start, part.stop - part.start)
        alone = one.measure(ReadContext(tmp_path / f"p{part.start}", ctx.folders), picked)
        for suffix in one.outputs:
            assert values(alone, suffix) == values(whole, suffix)[part]


def test_equal_texts_are_read_once(tmp_path, monkeypatch):
    seen = []
    encode = Reader.encode
    monkeypatch.setattr(Reader, "encode", lambda self, rows: seen.append(rows.num_rows) or encode(self, rows))
    ctx = ReadContext(tmp_path, {"policy": save(tmp_path / "m")})
    made = measure("logprob").measure(ctx, rollouts([*TEXTS, TEXTS[0], TEXTS[3], ("abc", "no")]))
    assert seen == [len(TEXTS) + 1]
    assert values(made)[6:8] == [values(made)[0], values(made)[3]] and values(made)[8] != values(made)[1]


def test_a_row_that_is_too_long_gets_no_number_and_says_so(tmp_path):
    ctx = ReadContext(tmp_path, {"policy": save(tmp_path / "m")})
    made = measure("logprob", max_length=20).measure(ctx, rollouts(TEXTS))
    assert [v is None for v in values(made, "_mean")] == [False, False, False, True, False, False]
    assert made["_mean"]["detail"].to_pylist()[3] == "truncated: 55 tokens, 20 allowed"
    assert any("1 of 6" in note for note in ctx.progress.notes)
    over = measure("logprob", max_length=500).measure(ReadContext(tmp_path / "b", ctx.folders), rollouts([("a", "b" * 127)]))
    assert over[""]["detail"].to_pylist() == ["truncated: 129 tokens, 128 allowed"]  # the model has 128 positions


def test_a_killed_measure_goes_on_from_its_journal(tmp_path, monkeypatch):
    rows = rollouts([(f"{i}?", str(i)) for i in range(forced.BATCH + 9)])
    path = save(tmp_path / "m")
    whole = measure("logprob").measure(ReadContext(tmp_path / "whole", {"policy": path}), rows)
    append = operators.Journal.append

    def dies(self, name, batch):
        append(self, name, batch)
        raise KeyboardInterrupt

    ctx = ReadContext(tmp_path / "killed", {"policy": path})
    monkeypatch.setattr(operators.Journal, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        measure("logprob").measure(ctx, rows)
    monkeypatch.undo()
    again = measure("logprob").measure(ctx, rows)
    assert ctx.progress.rows == 9 and all(again[suffix] == whole[suffix] for suffix in whole)


def test_policy_base_and_folder_are_other_models(tmp_path):
    ctx = ReadContext(tmp_path, {"policy": save(tmp_path / "p"), "base": save(tmp_path / "b", seed=1)})
    found = {}
    for name in ("policy", "base", "../b"):
        own = tmp_path / f"run{len(found)}"
        own.mkdir()
        found[name] = values(measure("logprob", model=name).measure(ReadContext(own, ctx.folders), rollouts(TEXTS)))
    assert found["policy"] != found["base"] == found["../b"]
    assert measure("logprob").reads(spec(), 0) == [Ref("policy")]
    assert measure("logprob", model="base").reads(spec(), 0) == [Ref("checkpoints", "policy", "base")]
    assert measure("logprob", model="b").reads(spec(), 0) == []
    settings = [measure("logprob", model=name).settings(spec(), 0, ctx.spec_path) for name in ("b", "p")]
    assert settings[0] != settings[1] and settings[0]["digest"] == models.digest(tmp_path / "b")
    with pytest.raises(SpecError, match="expected policy, base or a folder"):
        measure("logprob", model="bse").settings(spec(), 0, ctx.spec_path)
    with pytest.raises(SpecError, match="max_lenght"):
        measure("logprob", max_lenght=3)


def test_a_broken_model_is_an_error(tmp_path):
    path = save(tmp_path / "m")
    model, _ = models.load(path, CPU)
    with torch.no_grad():
        model.model.norm.weight.fill_(math.nan)
    model.save_pretrained(path)
    with pytest.raises(StepError, match="of generation g003 is nan"):
        measure("logprob").measure(ReadContext(tmp_path, {"policy": path}), rollouts(TEXTS))


def test_no_row_fits(tmp_path):
    ctx = ReadContext(tmp_path, {"policy": save(tmp_path / "m")})
    made = measure("logprob", max_length=1).measure(ctx, rollouts(TEXTS))
    assert all(made[suffix]["value"].type == pa.float64() and made[suffix]["value"].null_count == len(TEXTS) for suffix in made)
