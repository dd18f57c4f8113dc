"""Rounds that build on each other, really run: a schedule over all of them, carried moments, replay, held-out rows; kills between."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import loop_home
from engine import models
from engine.lake import Lake
from engine.train import keepsakes

ROOT = Path(__file__).parents[1]
TRAIN = """\
train:
  - {init: previous, reference: none, data: round, max_steps: 8, batch_size: 8, learning_rate: 1e-2, max_length: 64, save_every: 3,
     log_every: 1, schedule: cosine, schedule_over: experiment, warmup_steps: 2, optimizer_state: carried,
     replay: {share: 0.25, schedule: linear, to: 0.5}, hold_out: {share: 0.15, every: 4, patience: 9, keep: last}}
"""
TRUNK = """\
train:
  - {init: previous, reference: none, data: round, max_steps: 8, batch_size: 8, learning_rate: 1e-2, max_length: 64, save_every: 3,
     log_every: 1, schedule: wsd, schedule_over: trunk, warmup_steps: 3, shape: {decay_share: 0.25}, half: {embeddings: freeze}}
"""
KILLED = """
import os, signal, sys
from pathlib import Path
import loop_home
from engine.train import planned

left, step = int(sys.argv[2]), planned.Planned.training_step

def counted(self, *args, **more):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args, **more)

planned.Planned.training_step = counted
loop_home.load(Path(sys.argv[1])).run()
"""


def text(train: str) -> str:
    head, rest = loop_home.YAML.split("train:\n  - {init", 1)
    return head + train + "evaluate:" + rest.split("evaluate:", 1)[1]


def run(folder: Path, kill_at: int) -> int:
    """Runs the experiment in another process that dies at its own training step `kill_at` (0: never); its exit code."""
    process = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(kill_at)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert process.returncode in (0, -signal.SIGKILL), process.stderr.decode()[-3000:]
    return process.returncode


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    loop_home.write(folder, text(TRAIN))
    loop_home.load(folder).run()
    return folder


def rows(folder: Path, table: str, round_: int, part: str = "policy") -> list[dict]:
    return Lake(str(folder / "lake")).read(table, experiment="loop", rounds=[round_], part=part).to_pylist()


def rates(folder: Path, round_: int) -> list[float]:
    log = [row for row in rows(folder, "training_log", round_) if row["metric"] == "learning_rate"]
    return [row["value"] for row in sorted(log, key=lambda row: row["step"])]


def test_one_schedule_runs_over_all_rounds(home: Path) -> None:
    found = [rate for round_ in range(3) for rate in rates(home, round_)]
    cosine = [0.5e-2 * (1 + math.cos(math.pi * step / 22)) for step in range(22)]
    assert found == pytest.approx([1e-2 / 3, 2e-2 / 3, *cosine])


def test_each_round_replays_its_share_and_holds_rows_out(home: Path) -> None:
    held_before: set[str] = set()
    for round_, replayed in enumerate((8, 14, 24)):  # 25%, 37.5% (14.4) and 50% of what trains beside 24 fresh rows
        selected = rows(home, "selected", round_)
        fresh = [row for row in selected if row["origin"] != "replay"]
        again = [row for row in selected if row["origin"] == "replay"]
        assert (len(fresh), len(again)) == (24, replayed)
        assert {row["source_round"] for row in fresh} == {round_} and max(row["source_round"] for row in again) < round_
        earlier = {row["row_id"] for before in range(-1, round_) for row in rows(home, "selected", before)}
        assert {row["row_id"] for row in again} <= earlier
        trained = {row["row_id"] for row in rows(home, "trained_rows", round_)}
        held = {row["row_id"] for row in selected} - trained
        assert held and not held_before & trained  # a row that was held out does not train later either
        held_before |= held
        (step,) = (row for row in rows(home, "steps", round_, "checkpoint"))
        assert json.loads(step["detail"])["held_out"] == len(held)
        looks = [row["step"] for row in rows(home, "training_log", round_) if row["metric"] == "held_out/loss"]
        assert sorted(looks) == [4, 8]


def test_moments_are_carried_and_lie_with_their_checkpoint(home: Path) -> None:
    for round_ in range(3):
        (row,) = rows(home, "checkpoints", round_)
        file = keepsakes.find(home / row["path"], "moments", json.loads(row["settings"])["moments"]["digest"])
        assert keepsakes.file_digest(file) == json.loads(row["settings"])["moments"]["digest"]
        detail = json.loads(rows(home, "steps", round_, "checkpoint")[0]["detail"])
        assert detail["schedule_at"] == 8 * round_
        assert detail.get("moments") == ("fresh: the round starts from the base" if round_ == 0 else None)


@pytest.mark.slow
def test_kills_between_leave_the_same_tables(home: Path, tmp_path: Path) -> None:
    loop_home.write(tmp_path, text(TRAIN))
    assert [run(tmp_path, kill_at) for kill_at in (14, 10, 0)] == [-signal.SIGKILL, -signal.SIGKILL, 0]  # in round 0, then in round 1
    assert loop_home.contents(Lake(str(tmp_path / "lake")), "loop") == loop_home.contents(Lake(str(home / "lake")), "loop")


def test_rounds_from_a_trunk_with_other_halves_each(tmp_path: Path) -> None:
    loop_home.write(tmp_path, text(TRUNK))
    loop_home.load(tmp_path, "rounds=2", "compute.device=cpu").run()
    assert rates(tmp_path, 0) == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01, 0.01, 0.005])
    assert rates(tmp_path, 1) == pytest.approx([0.01] * 7 + [0.005])
    first, second = (rows(tmp_path, "checkpoints", round_)[0] for round_ in range(2))
    (one, two) = (json.loads(row["settings"]) for row in (first, second))
    trunk = keepsakes.find(tmp_path / first["path"], "trunk", one["trunk"]["digest"])
    assert models.digest(trunk) == one["trunk"]["digest"] != first["digest"]
    assert (one["trunk"]["steps"], two["trunk"]["steps"]) == (6, 12)
    assert second["parents"] == [first["digest"]]
    assert "model.embed_tokens.weight" in one["frozen"] and set(one["frozen"]) != set(two["frozen"])
    query = "select round, unnest(from_json(settings->'frozen', '[\"varchar\"]')) as tensor from lake.checkpoints where round >= 0"
    assert sorted(loop_home.load(tmp_path).sql(query).fetchall()) == sorted(
        (round_, name) for round_, found in ((0, one), (1, two)) for name in found["frozen"]
    )
