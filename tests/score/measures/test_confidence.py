"""Measures `confidence` and `beats_gold`: numbers by hand, letters of a real tiny model, what has no number."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pyarrow as pa
import pytest

from engine import models
from engine.errors import QueryError, SpecError, StepError
from engine.score import choices
from engine.score.measures import beats_gold
from engine.score.measures.beats_gold import duel
from engine.similarity import rouge_l, words
from engine.step import Ref
from generate_tiny import CPU, save, spec
from score.measures.read_answers import ReadContext, measure, rollouts, values
from small_lake import SmallLake

ASK = "{question} {answer}?"
DUEL = "{question} {first} or {second}?"


@dataclass
class LakeContext(ReadContext):
    """A context whose SQL and parts come from a small lake."""

    small: SmallLake | None = None

    def sql(self, query, params):
        assert self.small is not None
        return self.small.session(0).table(query, params)

    def read(self, ref, columns=None):
        return self.small.context(self.spec, 0).read(ref, columns)


def context(folder, answers, meta=None, seed=0, scores=None, **config):
    """Answers (prompt, text) to prompts whose references are 'gold <prompt>', with a tiny model; and their rows."""
    small = SmallLake(folder)
    rows = [
        {
            "prompt_id": p,
            "split": "train",
            "messages": [{"role": "user", "content": p}],
            "reference": f"gold {p}",
            "meta": json.dumps({"so": meta[p]}) if meta else None,
        }
        for p in dict.fromkeys(p for p, _ in answers)
    ]
    small.put("prompts", "train", rows)
    small.answers([(p, text, s) for (p, text), s in zip(answers, scores or [0.0] * len(answers), strict=True)])
    ctx = LakeContext(folder, {"policy": save(folder / "m", seed=seed, **config)}, small=small)
    found = rollouts(answers)
    seen: dict[str, int] = {}
    numbers = []
    for p, _ in answers:
        seen[p] = seen.get(p, -1) + 1
        numbers.append(seen[p])
    ids = pa.array([f"{p}-{n}" for (p, _), n in zip(answers, numbers, strict=True)])
    found = found.set_column(0, "generation_id", ids).set_column(1, "prompt_id", pa.array([p for p, _ in answers]))
    return ctx, found.append_column("sample", pa.array(numbers, pa.int64()))


def stub(monkeypatch, by_question):
    """Replies that a question's text decides."""
    asked = []

    def replies(ctx, how, questions, label):
        asked.extend(questions)
        return [by_question(text) for text in questions]

    monkeypatch.setattr(choices, "replies", replies)
    return asked


def test_the_catalogues_number(tmp_path, monkeypatch):
    """O = .8, S = .5, beta = .7 give .71."""
    ctx, rows = context(tmp_path, [("p", "gold p")] * 4 + [("p", "other")])
    stub(monkeypatch, lambda text: (0.2, 0.2, 0.6))  # not sure
    made = measure("confidence").measure(ctx, rows)
    assert values(made, "_observed") == [0.8] * 5 and values(made, "_reflected") == [0.5] * 5
    assert values(made) == [0.71] * 5
    assert json.loads(made[""]["detail"][0].as_py()) == {"observed": 0.8, "reflected": 0.5}


def test_agreement_is_weighed_from_similarity_and_equality(tmp_path, monkeypatch):
    ctx, rows = context(tmp_path, [("p", "gold x"), ("p", "Gold p."), ("p", "nothing")])
    stub(monkeypatch, lambda text: (1.0, 0.0, 0.0))
    near = rouge_l(words("gold p"), words("gold x"))
    assert near == 0.5
    found = values(measure("confidence").measure(ctx, rows), "_observed")[0]
    assert found == pytest.approx((0.8 * (0.5 + 1.0 + 0.0) + 0.2 * (0.0 + 1.0 + 0.0)) / 3)
    exact = values(measure("confidence", similarity="exact").measure(ctx, rows), "_observed")[0]
    assert exact == pytest.approx(1 / 3)
    assert values(measure("confidence", alpha=0.5).measure(ctx, rows), "_observed")[0] == pytest.approx((0.5 * 1.5 + 0.5) / 3)


def test_the_verifiers_may_say_what_is_the_same_answer(tmp_path, monkeypatch):
    ctx, rows = context(tmp_path, [("p", "a"), ("p", "b"), ("p", "c"), ("p", "d")], scores=[1.0, 1.0, 0.0, None])
    stub(monkeypatch, lambda text: (1.0, 0.0, 0.0))
    own = measure("confidence", same="score", similarity="exact")
    assert values(own.measure(ctx, rows), "_observed") == [0.5] * 4
    assert Ref("scores", "rollout/score") in own.reads(spec(), 0)
    ctx.small.put("scores", "rollout/score", [])
    with pytest.raises(StepError, match="4 of 4 rollouts have no score, such as p-0"):
        own.measure(ctx, rows)
    with pytest.raises(SpecError, match="it needs of: gold"):
        measure("confidence", same="score", of="answer")


def test_of_answers_each_is_compared_with_the_others(tmp_path, monkeypatch):
    ctx, rows = context(tmp_path, [("p", "yes"), ("p", "Yes!"), ("p", "no"), ("q", "alone")])
    asked = stub(monkeypatch, lambda text: (0.1, 0.8, 0.1) if "no?" in text else (0.5, 0.5, 0.0))
    made = measure("confidence", of="answer", questions=[ASK]).measure(ctx, rows)
    assert values(made, "_observed") == [0.5, 0.5, 0.0, None]
    assert values(made, "_reflected") == [1.0, 1.0, 0.0, 1.0]  # a tie goes to the earlier letter
    assert values(made) == [pytest.approx(0.65), pytest.approx(0.65), 0.0, None]
    assert made[""]["detail"].to_pylist()[3] == "no other answer to agree with"
    assert asked == ["p yes?", "p Yes!?", "p no?", "q alone?"]


def test_replies_are_worth_1_0_and_a_half(tmp_path, monkeypatch):
    ctx, rows = context(tmp_path, [("p", "gold p")])
    answers = iter([(0.6, 0.3, 0.1), (0.1, 0.7, 0.2), (0.2, 0.3, 0.5)])
    stub(monkeypatch, lambda text: next(answers))
    three = [f"{i} {ASK}" for i in range(3)]
    assert values(measure("confidence", questions=three).measure(ctx, rows), "_reflected") == [0.5]
    answers = iter([(0.6, 0.3, 0.1), (0.1, 0.7, 0.2)])
    soft = measure("confidence", questions=three[:2], soft=True).measure(ctx, rows)
    assert values(soft, "_reflected") == [pytest.approx((0.65 + 0.2) / 2)]


def test_gold_answers_from_meta(tmp_path, monkeypatch):
    ctx, rows = context(tmp_path, [("p", "so it is"), ("q", "x")], meta={"p": "so it is", "q": "{question}"})
    asked = stub(monkeypatch, lambda text: (1.0, 0.0, 0.0))
    made = measure("confidence", gold="$.so", questions=[ASK]).measure(ctx, rows)
    assert values(made) == [1.0, pytest.approx(0.3)]
    assert asked == ["p so it is?", "q {question}?"]  # braces in an answer stay as they are
    with pytest.raises(QueryError, match=r"prompt [pq] has no gold answer: nothing at \$\.proof"):
        measure("confidence", gold="$.proof").measure(ctx, rows)


def slow(path, text, letter):
    """Log-probability of a letter behind a text, in float64."""
    import torch

    model, tokens = models.load(path, CPU)
    ids = tokens(text)["input_ids"]
    with torch.no_grad():
        logits = model.double()(torch.tensor([ids])).logits[0, -1].log_softmax(dim=0)
    return float(logits[tokens(letter)["input_ids"][0]])


def test_letters_of_a_real_model(tmp_path):
    ctx, rows = context(tmp_path, [("one", "gold one"), ("two", "no"), ("two", "gold two")])
    made = measure("confidence", questions=[ASK, f"is {ASK}"]).measure(ctx, rows)
    for place, prompt in ((0, "one"), (1, "two"), (2, "two")):
        worth = []
        for text in (f"{prompt} gold {prompt}?", f"is {prompt} gold {prompt}?"):
            logprobs = [slow(tmp_path / "m", text, letter) for letter in "ABC"]
            worth.append((1.0, 0.0, 0.5)[logprobs.index(max(logprobs))])
        assert values(made, "_reflected")[place] == math.fsum(worth) / 2
    how = choices.Asking(max_length=64)
    other = LakeContext(tmp_path / "other", ctx.folders)  # a journal of its own
    shares = choices.replies(other, how, ["one?", "x" * 80], "m")
    logprobs = [slow(tmp_path / "m", "one?", letter) for letter in "ABC"]
    total = math.fsum(math.exp(p) for p in logprobs)
    assert shares[0] == pytest.approx([math.exp(p) / total for p in logprobs], abs=0.005) and shares[1] is None


def test_a_question_that_is_too_long_gives_no_number(tmp_path):
    ctx, rows = context(tmp_path, [("one", "gold one"), ("t" * 200, "no")])
    made = measure("confidence", questions=[ASK]).measure(ctx, rows)
    assert [v is None for v in values(made)] == [False, True]
    assert made[""]["detail"].to_pylist()[1] == "the question to the model is too long"
    assert values(made, "_observed")[1] == 0.0  # agreement is known all the same
    alone = measure("confidence", beta=1.0)
    assert values(alone.measure(ctx, rows)) == values(made, "_observed") and alone.reads(spec(), 0) == []


def test_letters_that_the_tokenizer_cannot_tell_apart(tmp_path):
    ctx, rows = context(tmp_path, [("one", "gold one")])
    with pytest.raises(StepError, match="cannot tell the replies A, !, # apart"):
        measure("confidence", questions=[ASK], letters=["A", "!", "#"]).measure(ctx, rows)
    with pytest.raises(SpecError, match="three different replies"):
        measure("confidence", letters=["A", "A", "B"])
    with pytest.raises(SpecError, match=r"lacks \{answer\}"):
        measure("confidence", questions=["{question}?"])


def test_shipped_questions_name_what_they_are_about():
    assert choices.missing(choices.shipped("reflection"), ("question", "answer")) is None and len(choices.shipped("reflection")) == 2
    assert choices.missing(choices.shipped("comparison"), ("question", "first", "second")) is None


def test_a_win_needs_both_orders():
    assert duel((0.1, 0.9, 0.0), (0.7, 0.2, 0.1)) == (0.8, 1.0)
    assert duel((0.1, 0.9, 0.0), (0.4, 0.5, 0.1))[1] == 0.0  # likes whatever stands second
    assert duel((0.5, 0.5, 0.0), (0.9, 0.1, 0.0))[1] == 0.0 and duel((0.0, 0.4, 0.6), (0.9, 0.1, 0.0))[1] == 0.0


def test_only_first_answers_are_candidates(tmp_path, monkeypatch):
    ctx, rows = context(tmp_path, [("p", "mine"), ("p", "other"), ("q", "Gold q!")])
    asked = stub(monkeypatch, lambda text: (0.05, 0.9, 0.05) if text.endswith("mine?") else (0.8, 0.1, 0.1))
    made = measure("beats_gold", questions=[DUEL]).measure(ctx, rows)
    assert asked == ["p gold p or mine?", "p mine or gold p?"]
    assert values(made) == [0.85, None, None] and values(made, "_wins") == [1.0, None, None]
    assert made[""]["detail"].to_pylist() == [None, "no candidate", "same text as the gold answer"]
    every = measure("beats_gold", questions=[DUEL], candidates="all").measure(ctx, rows)
    assert values(every, "_wins") == [1.0, 0.0, None]  # nobody asked for `other` first: it loses where it stands second
    with pytest.raises(SpecError, match="one is asked in both orders"):
        measure("beats_gold", questions=[DUEL, DUEL])


def test_a_duel_of_a_real_model(tmp_path):
    ctx, rows = context(tmp_path, [("p", "mine"), ("q", "x" * 200)], seed=1)
    made = measure("beats_gold", questions=[DUEL]).measure(ctx, rows)
    shares = []
    for text, place in (("p gold p or mine?", 1), ("p mine or gold p?", 0)):
        weights = [math.exp(slow(tmp_path / "m", text, letter)) for letter in "ABC"]
        shares.append(weights[place] / math.fsum(weights))
    assert values(made)[0] == pytest.approx(math.fsum(shares) / 2, abs=0.006)
    assert values(made)[1] is None and made[""]["detail"].to_pylist()[1] == "the question to the model is too long"
    settings = [measure("beats_gold", **params).settings(spec(), 0, ctx.spec_path) for params in ({}, {"questions": [DUEL]})]
    assert settings[0] != settings[1] and beats_gold.BeatsGold.outputs == ("", "_wins")
