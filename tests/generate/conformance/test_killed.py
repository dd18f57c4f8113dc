"""SIGKILL at random moments: the step that runs again ends with the rows of one that nobody killed, and asks only what was missing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine.generate import drive
from generate.conformance.asking import plain
from generate.conformance.rigs import MANY, Rig, Row

ROOT = Path(__file__).parents[3]
CALLS, ROWS, ERROR = "calls.jsonl", "rows.parquet", "error.txt"
BATCH = 9  # answers; three prompts
PATIENCE = 300.0  # seconds until a run that does nothing fails the test
Pairs = set[tuple[str, int]]


class Runs:
    """Processes that run the step of a rig, from one parent that has imported what they need."""

    def __init__(self) -> None:
        env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/tests", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        code = [sys.executable, str(Path(__file__).with_name("killed.py"))]
        self._parent = subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env)
        assert self._parent.stdout is not None and self._parent.stdout.readline() == "ready\n"

    def _say(self, order: dict[str, Any]) -> int:
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    def start(self, rig: Rig, home: Path, number: int, doomed: bool) -> int:
        """The pid of run `number`; one that is doomed never ends by itself."""
        home.mkdir(exist_ok=True)
        _, ctx = rig.step({"batch": BATCH})
        spec, model = ctx.spec.model_dump(mode="json", exclude_unset=True), str(rig.model) if rig.model else None
        order = {"home": str(home), "spec": spec, "model": model, "run": number, "doomed": doomed, "pause": rig.pause}
        return self._say(order | {"texts": MANY})

    def end(self, pid: int) -> int:
        """Waits for a run; its exit status, negative for a signal."""
        return self._say({"wait": pid})

    def close(self) -> None:
        """Ends the parent of the runs."""
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait()


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    made = Runs()
    yield made
    made.close()


@pytest.fixture(scope="module")
def undisturbed(runs: Runs, rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Row], int]:
    """The rows of a run that nobody kills, and how many bytes its journal has."""
    home = tmp_path_factory.mktemp("undisturbed")
    return finish(runs, rig, home, 0), journal(home)[0]


def journal(home: Path) -> tuple[int, Pairs]:
    """Bytes of a journal, and the answers of its whole lines."""
    file = home / "journal" / drive.FILE
    text = file.read_bytes() if file.exists() else b""
    rows = [json.loads(line) for line in text.split(b"\n")[:-1]]
    return len(text), {(row["prompt_id"], row["sample"]) for row in rows}


def finish(runs: Runs, rig: Rig, home: Path, number: int) -> list[Row]:
    """The rows of a run that nobody kills."""
    status = runs.end(runs.start(rig, home, number, doomed=False))
    assert status == 0, (home / ERROR).read_text()
    return plain(pq.read_table(home / ROWS).to_pylist())


def kill(runs: Runs, rig: Rig, home: Path, number: int, after: int, late: float) -> None:
    """Starts a run and kills it `late` seconds after its journal has `after` bytes."""
    pid = runs.start(rig, home, number, doomed=True)
    end = time.monotonic() + PATIENCE
    while journal(home)[0] < after:
        assert not (home / ERROR).exists(), (home / ERROR).read_text()
        assert time.monotonic() < end, "the journal does not grow"
        time.sleep(0.002)
    time.sleep(late)
    os.kill(pid, signal.SIGKILL)
    assert runs.end(pid) == -signal.SIGKILL


def kill_and_finish(runs: Runs, rig: Rig, home: Path, size: int, kills: int, seed: int) -> tuple[list[Row], list[Pairs]]:
    """(rows of the run after the last kill, what the journal had when each run began)."""
    dice, had = random.Random(seed), [set[tuple[str, int]]()]
    for number in range(kills):
        now = journal(home)[0]
        kill(runs, rig, home, number, int(now + dice.random() * (0.95 * size - now) / (kills - number)), dice.uniform(0, 0.05))
        had.append(journal(home)[1])
    return finish(runs, rig, home, kills), had


def check_asks(rig: Rig, home: Path, had: list[Pairs], wanted: Pairs) -> None:
    """Each run asks what the journal lacks, each answer once; where the backend gets batches, a kill costs one batch at most."""
    calls = [json.loads(line) for line in (home / CALLS).read_text().splitlines()]
    asked = [[tuple(pair) for call in calls if call["run"] == run for pair in call["pairs"]] for run in range(len(had))]
    for pairs, before in zip(asked, had, strict=True):
        assert len(set(pairs)) == len(pairs)
        assert set(pairs) <= wanted - before, "what the journal has was asked again"
    assert set(asked[-1]) == wanted - had[-1]
    assert {call["schedules"] for call in calls} <= {rig.schedules}
    if not rig.schedules:
        assert sum(map(len, asked)) <= len(wanted) + (len(had) - 1) * BATCH


def check(runs: Runs, rig: Rig, home: Path, undisturbed: tuple[list[Row], int], kills: int, seed: int) -> None:
    whole, size = undisturbed
    before = rig.work()
    rows, had = kill_and_finish(runs, rig, home, size, kills, seed)
    assert rows == whole
    wanted = {(row["prompt_id"], row["sample"]) for row in whole}
    assert len(wanted) == len(MANY) * rig.most
    check_asks(rig, home, had, wanted)
    if rig.in_flight:
        assert rig.work() - before <= len(wanted) + kills * rig.in_flight, "more was asked again than was in flight"


def test_a_step_killed_twice_ends_as_one_that_was_not(runs: Runs, rig: Rig, undisturbed: tuple[list[Row], int], tmp_path: Path) -> None:
    check(runs, rig, tmp_path, undisturbed, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_a_step_killed_ten_times(runs: Runs, rig: Rig, undisturbed: tuple[list[Row], int], tmp_path: Path, seed: int) -> None:
    check(runs, rig, tmp_path, undisturbed, kills=10, seed=seed)
