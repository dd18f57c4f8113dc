"""Judges that are models on disk: tiny ones with random weights, whose replies are read from a digit or by probabilities."""

from __future__ import annotations

import json
import math

import pytest

from engine.lines import Lines
from engine.score.measured import Measured
from engine.step import Ref
from generate_tiny import save
from score.judge.judging import compared, context, keep, measured

DIGIT = "about: x\nquestion: '{question} {answer} ='\nparse: '([0-9])'\nrange: [0, 9]\n"
YES = "about: x\nread: logprobs\nquestion: '{question} {answer} ?'\nvalues: {'1': 1, '0': 0}\n"
DUEL = "about: x\ncompares: true\nread: logprobs\nquestion: '{question} A {first} B {second} ?'\nvalues: {A: 1, B: 0}\n"
ANSWERS = [("p", "one"), ("p", "two"), ("q", "one"), ("q", "three and more"), ("q", "")]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"policy": save(folder / "policy", seed=1), "base": save(folder / "base", seed=2)}


def round_of(folder, models, text, answers=ANSWERS, kind="measure", method="judge", round_=0, **params):
    seed = params.pop("seed", 0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.yaml").write_text(text)
    entry = {"method": method, "params": {"prompt": "own.yaml", **({"model": "policy"} if method == "judge" else {}), **params}}
    ctx = context(folder, answers, models, seed=seed, **{kind: [entry]})
    ctx.round = round_
    return ctx


def told(rows):
    return [(row["value"], row["verdict"], row["detail"]) for row in rows]


def test_votes_are_drawn_by_content_and_seed_and_nothing_else(tmp_path, models):
    how = {"votes": 5, "temperature": 1.0, "max_tokens": 12}
    first = told(measured(round_of(tmp_path / "a", models, DIGIT, **how)))
    assert told(measured(round_of(tmp_path / "b", models, DIGIT, batch=1, **how))) == first
    some = told(measured(round_of(tmp_path / "c", models, DIGIT, [ANSWERS[3], ("p", "new"), ANSWERS[0]], round_=4, **how)))
    assert [some[0], some[2]] == [first[3], first[0]]
    assert told(measured(round_of(tmp_path / "d", models, DIGIT, seed=1, **how))) != first
    votes = [json.loads(detail)["votes"] for _, _, detail in first]
    assert all(len(own) == 5 for own in votes) and len({json.dumps(own) for own in votes}) > 1
    for (value, verdict, _), own in zip(first, votes, strict=True):
        read = [vote for vote in own if vote is not None]
        assert value == (pytest.approx(math.fsum(read) / len(read)) if read else None)
        assert verdict == (None if read else "unparseable")
    assert any(None in own for own in votes), "a random model does not always write a digit"


def test_self_reward_is_the_policy_with_three_votes(tmp_path, models):
    how = {"max_tokens": 12, "temperature": 0.7, "top_p": 0.9}
    by_itself = told(measured(round_of(tmp_path / "a", models, DIGIT, method="self_reward", max_tokens=12)))
    as_judge = told(measured(round_of(tmp_path / "b", models, DIGIT, votes=3, **how)))
    assert by_itself == as_judge and len(json.loads(by_itself[0][2])["votes"]) == 3
    step = Measured(round_of(tmp_path / "c", models, DIGIT, method="self_reward").spec.measure[0])
    ctx = round_of(tmp_path / "c", models, DIGIT, method="self_reward")
    assert Ref("policy") in step.reads(ctx.spec, 0) and step.on_device


def test_numbers_that_the_cache_gives_are_those_of_a_fresh_run(tmp_path, models):
    how = {"votes": 3, "temperature": 1.0, "max_tokens": 12}
    ctx = round_of(tmp_path / "a", models, DIGIT, ANSWERS[:3], **how)
    out = Measured(ctx.spec.measure[0]).run(ctx)
    keep(ctx, "scores", "rollout/judge", out.rows["scores", "rollout/judge"])
    later = round_of(tmp_path / "a", models, DIGIT, round_=2, **how)
    cached = Measured(later.spec.measure[0]).run(later)
    assert cached.detail["cached"] == 3
    fresh = told(measured(round_of(tmp_path / "b", models, DIGIT, **how)))
    assert told(cached.rows["scores", "rollout/judge"].to_pylist()) == fresh
    other = round_of(tmp_path / "a", {"policy": models["base"]}, DIGIT, **how)
    assert Measured(other.spec.measure[0]).run(other).detail["cached"] == 0, "another model judges anew"


def test_a_killed_judge_goes_on(tmp_path, models, monkeypatch):
    how = {"votes": 2, "temperature": 1.0, "max_tokens": 8, "batch": 2}
    whole = told(measured(round_of(tmp_path / "whole", models, DIGIT, **how)))
    append, made = Lines.append, []

    def dies(self, rows):
        append(self, rows)
        made.append(len(rows))
        raise KeyboardInterrupt

    ctx = round_of(tmp_path / "killed", models, DIGIT, **how)
    monkeypatch.setattr(Lines, "append", dies)
    with pytest.raises(KeyboardInterrupt):
        measured(ctx)
    monkeypatch.undo()
    assert made == [4] and told(measured(ctx)) == whole


def test_a_question_that_is_too_long_has_a_verdict_and_the_others_a_number(tmp_path, models):
    answers = [("p", "short"), ("p", "x" * 200)]
    for name, text in (("text", DIGIT), ("letters", YES)):
        rows = measured(round_of(tmp_path / name, models, text, answers, max_tokens=100))
        assert rows[1]["value"] is None and rows[1]["verdict"] == "error" and "tokens" in json.loads(rows[1]["detail"])["why"]
        assert rows[0]["verdict"] != "error"
    ctx = round_of(tmp_path / "all", models, DIGIT, answers[1:], max_tokens=100)
    assert measured(ctx)[0]["verdict"] == "error" and "1 of 1 questions are too long" in ctx.progress.notes[0]


def test_the_probability_of_a_word_is_that_of_the_model(tmp_path, models):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = measured(round_of(tmp_path, models, YES, model="base"))
    model, words = AutoModelForCausalLM.from_pretrained(models["base"]).eval(), AutoTokenizer.from_pretrained(models["base"])
    for (prompt, text), row in zip(ANSWERS, rows, strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([words(f"{prompt} {text} ?")["input_ids"]])).logits[0, -1].double()
        yes, no = (logits[words.convert_tokens_to_ids(word)].item() for word in "10")
        assert row["value"] == pytest.approx(1 / (1 + math.exp(no - yes)), abs=5e-3)
    assert len({row["value"] for row in rows}) > 1


def test_letters_of_a_pair_have_margins(tmp_path, models):
    rows = compared(round_of(tmp_path, models, DUEL, ANSWERS[:2], kind="compare"))
    forward, swapped, whole = (rows["g0", "g1", order] for order in ("forward", "swapped", "both"))
    for row, left_first in ((forward, True), (swapped, False)):
        margin = json.loads(row["detail"])["margin"] * (1 if left_first else -1)
        assert row["probability"] == pytest.approx(1 / (1 + math.exp(-margin)), abs=1e-6)
    agree = (forward["probability"] - 0.5) * (swapped["probability"] - 0.5) >= 0
    assert whole["probability"] == pytest.approx((forward["probability"] + swapped["probability"]) / 2 if agree else 0.5)
