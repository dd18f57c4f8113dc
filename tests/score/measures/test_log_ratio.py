"""Measure `log_ratio`: a difference of what `logprob` says, and what stands in for a policy that is not there yet."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine import models
from engine.errors import SpecError
from engine.promotion import Decision
from engine.score.measures import log_ratio
from engine.step import BASE, Model, Ref
from generate_tiny import save, spec
from score.measures.read_answers import TEXTS, ReadContext, measure, rollouts, values


@pytest.fixture
def three(tmp_path):
    return {name: save(tmp_path / name, seed=seed) for seed, name in enumerate(("base", "old", "policy"))}


def logprobs(folders, name, suffix=""):
    folder = folders[name].parent / f"lp_{name}{suffix}"
    folder.mkdir()
    return values(measure("logprob").measure(ReadContext(folder, {"policy": folders[name]}), rollouts(TEXTS)), suffix)


def decided(effective, digest):
    return Decision(effective - 1, "policy", "promoted", digest, effective, "", "gate", 0, effective, datetime.now(UTC))


def context(folders, round_, monkeypatch):
    known = {models.digest(path): path for path in folders.values()}
    monkeypatch.setattr(log_ratio, "find_model", lambda lake, home, experiment, digest: Model(digest, known[digest]))
    folder = folders["base"].parent / f"round{round_}"
    folder.mkdir()
    ctx = ReadContext(folder, folders, round=round_)
    ctx.lake = ctx.home = None
    ctx.promoted = [decided(0, models.digest(folders["base"])), decided(1, models.digest(folders["old"]))]
    ctx.promoted.append(decided(2, models.digest(folders["policy"])))
    return ctx


@pytest.mark.parametrize(("reduce", "suffix", "digits"), [("sum", "", 2), ("mean", "_mean", 4)])
def test_the_ratio_is_the_difference_of_both_models(three, monkeypatch, reduce, suffix, digits):
    made = measure("log_ratio", reduce=reduce).measure(context(three, 0, monkeypatch), rollouts(TEXTS))
    pairs = zip(logprobs(three, "policy", suffix), logprobs(three, "base", suffix), strict=True)
    assert values(made) == [round(a - b, digits) for a, b in pairs] and len(set(values(made))) == len(TEXTS)


def test_the_previous_policy_is_that_of_the_round_before(three, monkeypatch):
    ctx, one = context(three, 2, monkeypatch), measure("log_ratio", num="previous")
    old = zip(logprobs(three, "old"), logprobs(three, "base"), strict=True)
    assert values(one.measure(ctx, rollouts(TEXTS))) == [round(a - b, 2) for a, b in old]
    assert one.versions(ctx) == [models.digest(three["old"]), models.digest(three["base"])]
    assert Ref("promotions", "policy", "history") in one.reads(spec(), 2)


@pytest.mark.parametrize("round_", [BASE, 0, 1])
def test_while_the_previous_policy_is_none_or_the_base_its_mean_stands_in(three, monkeypatch, round_):
    ctx, one = context(three, round_, monkeypatch), measure("log_ratio", num="previous")
    assert values(one.measure(ctx, rollouts(TEXTS))) == logprobs(three, "base", "_mean")
    assert one.versions(ctx) == ["mean_base", models.digest(three["base"])]
    none = measure("log_ratio", num="previous", first="null")
    made = none.measure(ctx, rollouts(TEXTS))[""]
    assert made["value"].null_count == len(TEXTS) and set(made["detail"].to_pylist()) == {"there is no previous policy yet"}
    assert none.versions(ctx) == ["null"] and (round_ > 0 or one.reads(spec(), round_) == [Ref("checkpoints", "policy", "base")])


def test_one_model_under_two_names_has_ratios_of_0_or_its_mean(three, monkeypatch):
    ctx = context({"base": three["base"], "policy": three["base"], "old": three["old"]}, 0, monkeypatch)
    same, mean = measure("log_ratio"), measure("log_ratio", same="mean_base")
    assert values(same.measure(ctx, rollouts(TEXTS))) == [0.0] * len(TEXTS)
    assert values(mean.measure(ctx, rollouts(TEXTS))) == logprobs(three, "base", "_mean")
    assert mean.versions(ctx) == ["mean_base", models.digest(three["base"])] != same.versions(ctx)
    other = context(three, 1, monkeypatch)
    assert values(mean.measure(other, rollouts(TEXTS))) == values(same.measure(other, rollouts(TEXTS))) != [0.0] * len(TEXTS)


def test_a_row_that_one_model_cannot_read_has_no_number_and_says_which(three, monkeypatch):
    short = save(three["base"].parent / "short", max_position_embeddings=20)
    ctx = context(three | {"base": short}, 0, monkeypatch)
    made = measure("log_ratio").measure(ctx, rollouts(TEXTS))
    assert [value is None for value in values(made)] == [False, False, False, True, False, False]
    assert made[""]["detail"].to_pylist()[3] == "base: truncated: 55 tokens, 20 allowed"


def test_two_models_are_needed():
    with pytest.raises(SpecError, match="found 'base' twice"):
        measure("log_ratio", num="base")
