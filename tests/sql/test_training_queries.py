"""Views and queries over training_log: how trainings went, their curves over rounds, alarms, objectives side by side."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from engine import sqlfile
from small_lake import SmallLake

START = datetime(2026, 1, 1, tzinfo=UTC)


def ask(small, name, **params):
    file = sqlfile.read(sqlfile.find(f"queries/{name}"))
    return small.session().table(file.text, file.bind(params)).to_pylist()


def rows(small, text):
    return small.session().table(text, {}).to_pylist()


def checkpoint(digest, days=0, **more):
    own = {"digest": digest, "role": "policy", "attempt": "a", "at": START + timedelta(days), "objective": "dpo", "loss": 0.5}
    settings = json.dumps({"train": {"init": "previous", "reference": "base", "learning_rate": 1e-4, "params": {"beta": 0.1}}})
    return own | {"tokens": 90, "seconds": 3.0, "steps": 30, "rows_trained": 12, "settings": settings} | more


def log(digest, every=10, **metrics):
    """Entries of each metric at steps `every`, 2 `every`, ..."""
    return [
        {"digest": digest, "step": every * (i + 1), "metric": name.replace("__", "/"), "value": value}
        for name, values in metrics.items()
        for i, value in enumerate(values)
    ]


def trained(small, round_, role="policy", experiment=None, checkpoint_=None, **metrics):
    digest = f"d{round_}"
    small.put("checkpoints", role, [checkpoint(digest, **(checkpoint_ or {}))], round_, experiment)
    small.put("training_log", role, log(digest, **metrics), round_, experiment)


def test_the_curve_goes_on_over_rounds_and_leaves_out_what_was_superseded(tmp_path):
    small = SmallLake(tmp_path)
    trained(small, -1, loss=[3.0, 2.0])
    trained(small, 0, loss=[1.0, 0.5, 0.25], grad_norm=[1.0])
    trained(small, 1, loss=[0.2])
    trained(small, 0, role="reward", loss=[7.0])
    small.put("checkpoints", "policy", [checkpoint("old"), checkpoint("d2", days=1)], 2)
    small.put("training_log", "policy", log("d2", loss=[0.1]), 2)
    small.put("checkpoints", "policy", [checkpoint("d3", days=1), checkpoint("old")], 3)
    small.put("training_log", "policy", log("old", loss=[9.0]), 3)
    found = ask(small, "training_curve")
    assert [(r["round"], r["step"], r["total_step"], r["value"]) for r in found] == [
        (-1, 10, 10, 3.0),
        (-1, 20, 20, 2.0),
        (0, 10, 30, 1.0),
        (0, 20, 40, 0.5),
        (0, 30, 50, 0.25),
        (1, 10, 60, 0.2),
        (2, 10, 70, 0.1),
    ]
    assert [r["total_step"] for r in ask(small, "training_curve", role="reward")] == [10]
    assert [r["value"] for r in ask(small, "training_curve", metric="grad_norm")] == [1.0]
    assert ask(small, "training_curve", experiment="other") == []


def test_a_row_a_training(tmp_path):
    small = SmallLake(tmp_path)
    pairs = {"rewards__accuracies": [0.5, 0.75, 1.0], "logps__chosen": [-9.0, -8.0, -8.5], "kl": [0.0, 0.01, 0.02]}
    trained(small, 0, loss=[0.7, 0.2, 0.3], grad_norm=[1.0, 2.0, 6.0], clipped=[0.0, 0.5, 1.0], **pairs)
    small.put("checkpoints", "policy", [checkpoint("d1", steps=25, objective="sft")], 1)
    uneven = [{"digest": "d1", "step": s, "metric": "grad_norm", "value": v} for s, v in ((10, 1.0), (20, 1.0), (25, 6.0))]
    small.put("training_log", "policy", uneven, 1)
    small.put("checkpoints", "policy", [checkpoint("imported", steps=0)], -1)
    first, second = rows(small, "select * from lake.training order by round")
    assert (first["objective"], first["rows"], first["steps"], first["tokens_per_second"]) == ("dpo", 12, 30, 30.0)
    assert (first["loss_first"], first["loss_last"], first["loss_least"], first["loss"]) == (0.7, 0.3, 0.2, 0.5)
    assert (first["grad_norm"], first["clipped"]) == (3.0, 0.5)
    assert (first["accuracy_first"], first["accuracy_last"], first["kl_last"]) == (0.5, 1.0, 0.02)
    assert (first["chosen_logps_first"], first["chosen_logps_last"], first["margin_last"]) == (-9.0, -8.5, None)
    assert second["grad_norm"] == 2.0 and second["accuracy_last"] is None and second["objective"] == "sft"
    assert [r["round"] for r in ask(small, "training", role="policy")] == [0, 1]
    assert ask(small, "training", role="reward") == []


def alarms(small, **params):
    return {r["alarm"]: (pytest.approx(r["value"]), r["limit"], r["is_beyond"]) for r in ask(small, "training_alarms", **params)}


def test_a_good_training_raises_no_alarm(tmp_path):
    small = SmallLake(tmp_path)
    good = {"rewards__accuracies": [0.5, 0.7, 0.8, 0.9], "logps__chosen": [-9.0, -9.0, -8.0, -8.0], "rewards__chosen": [0.0, 0.1, 0.2, 0.3]}
    trained(small, 0, loss=[0.7, 0.6, 0.5, 0.55], clipped=[1.0, 0.0, 0.0, 0.0], kl=[0.0, 0.0, 0.1, 0.2], **good)
    found = alarms(small)
    assert sorted(found) == ["accuracies", "chosen_logps", "chosen_rewards", "clipped", "kl", "loss_spike"]
    assert not any(beyond for _, _, beyond in found.values())
    assert found["chosen_logps"][0] == 1.0 and found["kl"][0] == 0.2 and found["clipped"][0] == 0.25
    assert found["loss_spike"][0] == 0.55 / 0.6


def test_every_alarm_can_ring(tmp_path):
    small = SmallLake(tmp_path)
    bad = {"rewards__accuracies": [0.5] * 8, "logps__chosen": [-8.0] * 4 + [-9.5] * 4, "rewards__chosen": [0.0] * 6 + [-0.2] * 2}
    trained(small, 0, loss=[0.7] * 7 + [2.1], clipped=[1.0] * 8, kl=[0.0] * 6 + [0.5, 0.7], **bad)
    found = alarms(small)
    assert all(beyond for _, _, beyond in found.values()) and len(found) == 6
    assert found["chosen_logps"][0] == -1.5 and found["chosen_rewards"][0] == -0.2
    assert found["loss_spike"][0] == 3.0 and found["kl"][0] == 0.6
    assert not alarms(small, spike=4.0)["loss_spike"][2] and not alarms(small, kl=1.0)["kl"][2]
    assert alarms(small, role="reward") == {}


def test_short_logs_and_losses_below_zero_say_nothing_they_cannot(tmp_path):
    small = SmallLake(tmp_path)
    trained(small, 0, loss=[-0.7, -1.0, -0.8, -2.0], logps__chosen=[-8.0])
    assert alarms(small) == {}


def test_objectives_side_by_side(tmp_path):
    small = SmallLake(tmp_path)
    for name, tests in (("one", (0.4, 0.5)), ("two", (0.4, 0.25))):
        for round_, value in zip((-1, 0), tests, strict=True):
            trained(small, round_, experiment=name, checkpoint_={"objective": "dpo" if name == "one" else "sft"}, loss=[0.7, 0.5])
            metric = {"suite": "test", "metric": "pass@1", "value": value, "stderr": 0.1, "n": 4}
            small.put("evaluations", "policy", [metric], round_, name)
            small.put("steps", "checkpoint", [{"step": "checkpoint", "state": "done", "at": START}], round_, name)
    found = ask(small, "objective_compare")
    assert [(r["objective"], r["experiment"], r["round"], r["test"]) for r in found] == [("dpo", "one", 0, 0.5), ("sft", "two", 0, 0.25)]
    assert [r["rise"] for r in found] == [pytest.approx(0.1), pytest.approx(-0.15)]
    assert (found[0]["init"], found[0]["reference"], found[0]["learning_rate"]) == ("previous", "base", 1e-4)
    assert json.loads(found[0]["params"]) == {"beta": 0.1}
    assert [r["experiment"] for r in ask(small, "objective_compare", left="two")] == ["two"]
    assert [r["loss_last"] for r in found] == [0.5, 0.5]
