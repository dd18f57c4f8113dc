"""Measure `loss_trajectory`: the losses of `logprob` under each checkpoint, in the order of training."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from engine import models
from engine.errors import SpecError
from engine.promotion import Decision
from engine.score.measures import loss_trajectory
from engine.step import Model, Ref
from generate_tiny import save, spec
from score.measures.read_answers import TEXTS, ReadContext, measure, rollouts, values


@pytest.fixture
def three(tmp_path):
    for seed in range(3):
        save(tmp_path / f"c{seed}", seed=seed)
    return tmp_path


def losses(folder, number):
    ctx = ReadContext(folder / f"own{number}", {"policy": folder / f"c{number}"})
    return [0.0 - mean for mean in values(measure("logprob").measure(ctx, rollouts(TEXTS)), "_mean")]


def decided(round_, digest, decision="promoted", role="policy"):
    return Decision(round_, role, decision, digest, round_ + 1, "", "gate", 0, round_ + 1, datetime.now(UTC))


def test_named_checkpoints_in_their_order(three):
    made = measure("loss_trajectory", checkpoints=["c2", "c0", "c1"]).measure(ReadContext(three, {}), rollouts(TEXTS))[""]
    found = [json.loads(text) for text in made["detail"].to_pylist()]
    assert found == [list(row) for row in zip(losses(three, 2), losses(three, 0), losses(three, 1), strict=True)]
    assert made["value"].to_pylist() == [row[-1] for row in found] and len({tuple(row) for row in found}) == len(TEXTS)


def test_only_the_last_checkpoints(three):
    one = measure("loss_trajectory", checkpoints=["c2", "c0", "c1"], last=2)
    made = one.measure(ReadContext(three, {}), rollouts(TEXTS))[""]
    assert [json.loads(text) for text in made["detail"].to_pylist()] == [
        list(row) for row in zip(losses(three, 0), losses(three, 1), strict=True)
    ]
    digests = [{"digest": models.digest(three / name)} for name in ("c0", "c1")]
    assert one.settings(spec(), 0, three / "spec.yaml")["models"] == digests and one.reads(spec(), 0) == []


def test_without_names_the_promoted_checkpoints_base_first_policy_last(three, monkeypatch):
    folders = [three / f"c{n}" for n in range(3)]
    base, held, policy = (models.digest(folder) for folder in folders)
    known = dict(zip((base, held, policy), folders, strict=True))
    monkeypatch.setattr(loss_trajectory, "find_model", lambda lake, home, experiment, digest: Model(digest, known[digest]))
    ctx = ReadContext(three, {"policy": folders[2]}, round=2)
    ctx.lake = ctx.home = None
    ctx.promoted = [decided(-1, base), decided(0, held, "held"), decided(1, policy), decided(2, held), decided(0, held, role="reward")]
    one = measure("loss_trajectory")
    made = one.measure(ctx, rollouts(TEXTS))[""]
    assert [json.loads(text) for text in made["detail"].to_pylist()] == [
        list(row) for row in zip(losses(three, 0), losses(three, 2), strict=True)
    ]
    assert {Ref("policy"), Ref("promotions", "policy", "history")} <= set(one.reads(spec(), 2))


def test_a_long_row_has_no_trajectory(three):
    made = measure("loss_trajectory", checkpoints=["c0", "c1"], max_length=20).measure(ReadContext(three, {}), rollouts(TEXTS))[""]
    assert made["value"].to_pylist()[3] is None and made["detail"].to_pylist()[3] == "truncated: 55 tokens, 20 allowed"
    assert made["value"].null_count == 1


def test_wrong_checkpoints(three):
    with pytest.raises(SpecError, match=r"looked for .*c9"):
        measure("loss_trajectory", checkpoints=["c0", "c9"]).settings(spec(), 0, three / "spec.yaml")
    with pytest.raises(SpecError, match=r"found \['base'\]"):
        measure("loss_trajectory", checkpoints=["base", "c0"])
