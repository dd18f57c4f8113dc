"""SIGKILL at random moments: the next run finishes, computes at most one batch again, and ends with the same tables."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import loop_home
from engine.lake import Lake

BATCH = 4  # prompts a batch of the tiny experiment: generate.batch 16 / 4 samples; held-out batches hold more
CODE = [sys.executable, str(Path(__file__).parent / "killed_run.py")]


def start(folder: Path, name: str = "loop") -> subprocess.Popen[str]:
    """A run of an experiment in another process, once it has begun."""
    root = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        [*CODE, str(folder), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
        env={"PYTHONPATH": f"{root}:{root}/tests", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n", process.stderr and process.stderr.read()
    return process


def kill_and_finish(folder: Path, kills: int, seconds: float, seed: int) -> int:
    """Kills `kills` runs at random moments of up to `seconds`, then lets one finish; returns how many were still running."""
    dice, struck = random.Random(seed), 0
    for _ in range(kills):
        process = start(folder)
        deadline = time.monotonic() + dice.uniform(0.2, seconds)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        struck += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = start(folder)
    _, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    return struck


def check(folder: Path, undisturbed: Path, struck: int) -> None:
    """Equal tables, and no more batches again than runs were killed."""
    again = loop_home.contents(Lake(str(folder / "lake")), "loop")
    assert again == loop_home.contents(Lake(str(undisturbed / "lake")), "loop")
    computed: Counter[tuple[str, str]] = Counter()
    batches: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for line in (folder / "calls.jsonl").read_text().splitlines():
        call = json.loads(line)
        computed.update((call["journal"], key) for key in call["keys"])
        batches[call["journal"], tuple(call["keys"])] += 1
    assert max(computed.values()) <= 1 + struck
    assert sum(n - 1 for n in batches.values()) <= struck
    assert not list((folder / "journal").glob("loop/*"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A home whose run nobody killed, and how long it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    loop_home.write(folder)
    begun = time.monotonic()
    process = start(folder)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return folder, time.monotonic() - begun


def test_a_run_killed_three_times_ends_as_one_that_was_not(undisturbed: tuple[Path, float], tmp_path: Path) -> None:
    loop_home.write(tmp_path)
    struck = kill_and_finish(tmp_path, 3, undisturbed[1] * 0.8, seed=1)
    check(tmp_path, undisturbed[0], struck)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(7))
def test_twenty_kills_in_seven_runs(undisturbed: tuple[Path, float], tmp_path: Path, seed: int) -> None:
    loop_home.write(tmp_path)
    struck = kill_and_finish(tmp_path, 3, undisturbed[1] * 0.5, seed=100 + seed)
    assert struck >= 2
    check(tmp_path, undisturbed[0], struck)
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_four_experiments_at_once_on_one_lake_lose_nothing(undisturbed: tuple[Path, float], tmp_path: Path) -> None:
    for name in ("loop", "second", "third", "fourth"):
        loop_home.write(tmp_path, loop_home.YAML.replace("seed: 3", f"seed: {3 if name == 'loop' else len(name)}"), name)
    processes = [start(tmp_path, name) for name in ("loop", "second", "third", "fourth")]
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    lake = Lake(str(tmp_path / "lake"))
    parts = [loop_home.contents(lake, name) for name in ("loop", "second", "third", "fourth")]
    assert parts[0] == loop_home.contents(Lake(str(undisturbed[0] / "lake")), "loop")
    assert all(one.keys() == parts[0].keys() for one in parts)
    steps = lake.read("steps", columns=["step", "state"])
    assert set(steps["state"].to_pylist()) <= {"done", "reused"}
