"""The process that measures: what it tells, how it may end, its memory, and that nothing of it is left."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from engine.generate.bench import Repeat
from engine.generate.bench.measure import Task
from engine.generate.bench.process import Outcome, resident, run
from processes import gone

REPEAT = '{"repeat": {"answers": 4, "tokens": 8, "seconds": 0.5}}'
DONE = '{"done": true, "answers": [["p", 0, "c"]], "changed": 0, "detail": {"waves": 2}, "gpu": null, "memory": 7}'


def task(folder: Path) -> Task:
    return Task(
        folder=str(folder),
        backend="transformers",
        params={},
        sampler={},
        samples=1,
        chat=None,
        model=None,
        device={},
        seed=0,
        round=0,
        trust_remote_code=False,
        spec_path="spec.yaml",
        keep_tokens=False,
        batch=1,
        flight=1,
        seconds=1.0,
        repeats=1,
    )


def child(folder: Path, code: str, limit: float = 120.0, starting: float = 120.0) -> Outcome:
    """What becomes of a process that runs `code` in place of a measurement."""
    file = folder / "child.py"
    file.write_text("import json, os, signal, subprocess, sys, time\nsay = lambda text: print(text, flush=True)\n" + textwrap.dedent(code))
    return run(task(folder), limit, (sys.executable, str(file)), starting)


def test_what_it_tells_is_kept(tmp_path: Path) -> None:
    found = child(tmp_path, f"say('{{\"start\": 1.5, \"whole\": true}}'); say('{REPEAT}'); say('{REPEAT}'); say('{DONE}')")
    assert found.failed is None and found.start == 1.5 and found.whole and found.repeats == [Repeat(4, 8, 0.5)] * 2
    assert found.answers == {("p", 0): "c"} and found.detail == {"waves": 2} and found.memory >= 7


def test_it_gets_the_task_and_the_parents_number(tmp_path: Path) -> None:
    code = "assert json.load(open(sys.argv[1]))['backend'] == 'transformers' and int(sys.argv[2]) == os.getppid()\n"
    assert child(tmp_path, code + f"say('{DONE}')").failed is None


def test_a_process_that_the_system_kills_was_out_of_memory(tmp_path: Path) -> None:
    found = child(tmp_path, f"say('{REPEAT}'); os.kill(os.getpid(), signal.SIGKILL)")
    assert found.failed == "memory" and "out of memory" in str(found.reason)


@pytest.mark.parametrize("end", ["raise ValueError('a bug')", "sys.exit(0)"])
def test_one_that_ends_without_a_word_has_crashed(tmp_path: Path, end: str) -> None:
    found = child(tmp_path, f"say('{REPEAT}')\n{end}")
    assert found.failed == "crashed" and ("ValueError: a bug" in str(found.reason) or "code 0" in str(found.reason))


def test_its_own_reason_is_taken(tmp_path: Path) -> None:
    found = child(tmp_path, """say('{"failed": "refused", "reason": "no such model"}')""")
    assert (found.failed, found.reason, found.start) == ("refused", "no such model", None)


@pytest.mark.parametrize("first, word", [("", "started"), ('say(\'{"start": 1, "whole": false}\')', "first batch")])
def test_what_takes_too_long_is_ended_with_its_children(tmp_path: Path, first: str, word: str) -> None:
    # the limits are those of silence: the start is told at once, or never
    code = f"""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open({str(tmp_path / "pids")!r}, "w").write(f"{{os.getpid()}} {{other.pid}}")
    {first}
    time.sleep(600)
    """
    found = child(tmp_path, code, limit=2.0, starting=20.0 if first else 5.0)
    assert found.failed == "slow" and word in str(found.reason)
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_memory_counts_children(tmp_path: Path) -> None:
    code = f"""
    block = b"x" * 30_000_000
    kid = subprocess.Popen([sys.executable, "-c", "import sys; block = b'x' * 60_000_000; print(1, flush=True); sys.stdin.read()"],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    kid.stdout.readline()
    time.sleep(3)
    kid.communicate()
    say('{DONE}')
    """
    assert child(tmp_path, code).memory > 90_000_000
    assert resident(os.getpid()) > 10_000_000


def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    tied = "from engine.generate.bench.child import _with_parent as tie\ntie(int(sys.argv[1]))\n"
    child = f"import os, sys, time\n{tied}print(os.getpid(), flush=True)\ntime.sleep(600)"
    parent = f"import os, subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}, str(os.getpid())]); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
