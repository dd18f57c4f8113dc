"""The sandbox judges as plain Python does, loses no program, leaves no process, and does not depend on its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from engine.errors import SpecError, StepError
from engine.score.sandbox import MIB, Limits, Outcome, Program, Sandbox, available, jail

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "judged.yaml").read_text())
PROJECT = Path(__file__).parents[3]
LIMITS = Limits(seconds=1, memory=256 * MIB)
GOOD = Program("def add(a, b):\n    return a + b\n", "assert add(1, 2) == 3\n")
BAD = Program("def add(a, b):\n    return a - b\n", "assert add(1, 2) == 3\n")
BRIEF = Program("import time\ntime.sleep(1)\n", "assert True\n")  # ends after the worker that has it was killed

try:
    available()
except StepError as missing:
    pytest.skip(f"no jail here: {missing.message}", allow_module_level=True)


def program(case: dict[str, Any]) -> Program:
    return Program(case["code"], case["tests"], case.get("setup", ""), case.get("entry"))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox("jail", workers=2, limits=LIMITS) as made:
        yield made


@pytest.fixture(scope="module")
def judged(sandbox: Sandbox) -> dict[str, Outcome]:
    return dict(zip([case["name"] for case in CASES], sandbox.run([program(case) for case in CASES]), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_verdict_of_an_honest_program(judged: dict[str, Outcome], case: dict[str, Any]) -> None:
    outcome, expected = judged[case["name"]], case.get("expect", "passed")
    assert outcome.status in ([expected] if isinstance(expected, str) else expected), outcome
    assert case.get("says", "") in (outcome.detail or ""), outcome
    assert outcome.stdout == case.get("stdout", "")
    assert outcome.runner == "jail" and outcome.seconds >= 0


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.get("expect", "passed") in ("passed", "failed")], ids=lambda case: case["name"]
)
def test_plain_python_says_the_same(case: dict[str, Any]) -> None:
    names: dict[str, Any] = {"__name__": "builtins"}
    text = "\n".join([case.get("setup", ""), case["code"], case["tests"], f"check({case['entry']})" if "entry" in case else ""])
    script = f"import random; random.seed(0); names = {names!r}; exec(compile({text!r}, 'program', 'exec'), names)"
    if case["name"] in ("a dataclass", "frozen and slotted", "typing"):
        script = text  # these look their module up
    if case["name"] == "a main guard stays quiet":
        script = script.replace("'builtins'", "'other'")
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONHASHSEED": "0"}, timeout=60, check=False
    )
    assert (ended.returncode == 0) == (case.get("expect", "passed") == "passed"), ended.stderr


def test_script_reads_stdin_and_gives_stdout(sandbox: Sandbox) -> None:
    script = (
        "import sys, atexit\natexit.register(print, 'bye')\nif __name__ == '__main__':\n    print(int(input()) + len(sys.stdin.read()))\n"
    )
    outcomes = sandbox.run(
        [
            Program(script, stdin="41\nabc"),
            Program("print('é' * 3)", stdin=""),
            Program("print(1)\nraise SystemExit(3)", stdin=""),
            Program("print(1)\nimport sys\nsys.exit()", stdin=""),
            Program("print(1)\n1 / 0", stdin=""),
            Program("print(input())", stdin=""),
            Program("while True: pass", stdin=""),
            Program("print('x' * 100000)"),
            Program("import threading\nthreading.Thread(target=print, args=('late',)).start()"),
            Program("print(len(open(0).read()))", stdin="y" * 300_000),
        ]
    )
    assert [outcome.status for outcome in outcomes] == ["passed", "passed", "failed", "passed", "failed", "failed", "timeout"] + [
        "passed"
    ] * 3
    assert outcomes[0].stdout == "44\nbye\n" and outcomes[1].stdout == "ééé\n" and outcomes[8].stdout == "late\n"
    assert outcomes[2].detail == "exit status 3" and outcomes[3].stdout == "1\n" and outcomes[9].stdout == "300000\n"
    assert outcomes[4].detail == "ZeroDivisionError: division by zero (line 2 of the code)" and outcomes[4].stdout == "1\n"
    assert outcomes[7].stdout.endswith(f"\n[{100_001 - 65536} more bytes]")


def test_same_verdicts_for_any_number_of_workers() -> None:
    spin = Program("def f(n):\n    return sum(range(n))\n", "assert f(3) == 3\nassert f(10 ** 6) == 499999500000\n")
    programs = [GOOD, BAD, spin, Program("x = ", "assert x"), Program("while True: pass", "assert 1"), spin, BAD, GOOD] * 3
    seen = []
    for workers in (1, 2, 4):
        with Sandbox("jail", workers=workers, limits=LIMITS) as sandbox:
            seen.append([(outcome.status, outcome.detail, outcome.stdout, outcome.runner) for outcome in sandbox.run(programs)])
    assert seen[0] == seen[1] == seen[2]
    assert [status for status, *_ in seen[0][:5]] == ["passed", "failed", "passed", "unparseable", "timeout"]


def test_no_programs_and_many() -> None:
    with Sandbox("jail", workers=2, limits=LIMITS) as sandbox:
        assert sandbox.run([]) == []
        outcomes = sandbox.run([GOOD, BAD] * 150)
        assert [outcome.status for outcome in outcomes] == ["passed", "failed"] * 150
        assert len(sandbox._pool.pids()) == 4


def test_workers_are_replaced_after_many_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.score.sandbox.pool.RECYCLED", 20)
    with Sandbox("jail", workers=1, limits=LIMITS) as sandbox:
        sandbox.run([GOOD] * 5)
        before = sandbox._pool.pids()
        assert {outcome.status for outcome in sandbox.run([GOOD] * 60)} == {"passed"}
        assert not set(before) & set(sandbox._pool.pids())


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def family(pids: list[int]) -> list[int]:
    return [*pids, *(child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True))]


def ends(pids: list[int], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if all(gone(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


class Killer:
    """Kills one process of a worker while a program runs, `times` times."""

    def __init__(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, times: int, which: int) -> None:
        pool, self.left = sandbox._pool, times
        give = pool_module().Worker.give

        def killing(worker: Any, index: int, work: dict[str, Any]) -> None:
            give(worker, index, work)
            if index == 1 and self.left:
                self.left -= 1
                (inside,) = psutil.Process(worker.pids()[which]).children()
                os.kill(inside.pid, signal.SIGKILL)

        monkeypatch.setattr(pool_module().Worker, "give", killing)
        assert pool is not None


def pool_module() -> Any:
    from engine.score.sandbox import pool

    return pool


@pytest.mark.parametrize("which", [0, 1], ids=["referee", "player"])
def test_a_killed_worker_costs_one_retry(monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    with Sandbox("jail", workers=1, limits=LIMITS) as sandbox:
        sandbox.run([GOOD])
        killer = Killer(sandbox, monkeypatch, 1, which)
        outcomes = sandbox.run([GOOD, BRIEF, BAD, GOOD])
        assert [outcome.status for outcome in outcomes] == ["passed", "passed", "failed", "passed"]
        assert killer.left == 0


def test_a_program_that_loses_its_worker_twice_gets_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox("jail", workers=1, limits=LIMITS) as sandbox:
        sandbox.run([GOOD])
        Killer(sandbox, monkeypatch, 1000, 0)
        outcomes = sandbox.run([GOOD, BRIEF, BAD])
        assert outcomes[1].status == "failed" and "twice" in (outcomes[1].detail or "")
        assert [outcomes[0].status, outcomes[2].status] == ["passed", "failed"]


def test_tests_that_never_end_are_a_timeout() -> None:
    endless = "import sys\nwhile True:\n    pass\n"
    with Sandbox("jail", workers=2, limits=Limits(seconds=0.3)) as sandbox:
        outcomes = sandbox.run([Program("x = 1", "while True:\n    pass\n"), Program("x = 1", endless), GOOD])
    assert [outcome.status for outcome in outcomes] == ["timeout", "timeout", "passed"]
    assert outcomes[0].detail == outcomes[1].detail == "the tests do not end"


def test_a_worker_that_never_answers_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Limits, "last", property(lambda limits: 0.5))
    monkeypatch.setattr("engine.score.sandbox.pool.PATIENCE", 0.5)
    deaf = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass\n"
    with Sandbox("jail", workers=1, limits=Limits(seconds=0.3)) as sandbox:
        outcomes = sandbox.run([Program("x = 1", deaf), GOOD])
    assert [outcome.status for outcome in outcomes] == ["timeout", "passed"]
    assert outcomes[0].detail == "no answer within 1 s, twice"


def test_close_leaves_no_process() -> None:
    sandbox = Sandbox("jail", workers=2, limits=LIMITS)
    sandbox.run([GOOD] * 4)
    pids = family(sandbox._pool.pids())
    assert len(pids) >= 8
    sandbox.close()
    sandbox.close()
    assert ends(pids)


@pytest.mark.parametrize(("kind", "processes"), [("jail", 10), ("none", 6)])
def test_nothing_outlives_a_killed_parent(kind: str, processes: int) -> None:
    script = textwrap.dedent(f"""
        from engine.score.sandbox import Limits, Program, Sandbox
        sandbox = Sandbox("{kind}", workers=2, limits=Limits(seconds=60))
        sandbox.run([Program("x = 1", "assert x == 1")] * 4)
        print(*sandbox._pool.pids(), flush=True)
        sandbox.run([Program("import time\\ntime.sleep(999)", "assert x"), Program("x = 1", "while True: pass")])
    """)
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    assert child.stdout is not None
    try:
        workers = [int(pid) for pid in child.stdout.readline().split()]
        end = time.monotonic() + 20
        while len(pids := family(workers)) < processes and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        child.kill()
        child.communicate()
    assert len(pids) == processes  # of each worker the referee and the player, in a jail with bwrap around them, and a program
    assert ends(pids)


def test_jail_inside_sees_no_host_process(sandbox: Sandbox) -> None:
    code = "import os\ndef f():\n    return os.getppid(), os.getuid() != 0, os.path.exists('/proc'), sorted(os.listdir('/'))\n"
    tests = "parent, unprivileged, proc, root = f()\nassert parent == 1 and unprivileged and not proc\nassert set(root) <= set(NAMES)\n"
    names = ["dev", "lib", "lib32", "lib64", "rondo", "tmp", "usr", Path(jail.interpreter()).parts[1]]
    (outcome,) = sandbox.run([Program(code, tests, f"NAMES = {names!r}")])
    assert outcome.status == "passed", outcome


def test_without_a_jail_only_when_asked() -> None:
    with Sandbox("none", workers=1, limits=LIMITS) as sandbox:
        outcomes = sandbox.run([GOOD, BAD, Program("while True: pass", "assert 1"), Program("import os\nos.fork()", "assert 1")])
    assert [(outcome.status, outcome.runner) for outcome in outcomes] == [
        (status, "none") for status in ("passed", "failed", "timeout", "failed")
    ]


def test_a_jail_that_does_not_work_is_an_error_and_no_verdict() -> None:
    with Sandbox("jail", workers=1, limits=Limits(memory=1 << 20)) as sandbox, pytest.raises(StepError, match="did not start"):
        sandbox.run([GOOD])


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    jail.probe.cache_clear()
    try:
        with pytest.raises(StepError, match="apt-get install bubblewrap"):
            Sandbox("jail")
    finally:
        jail.probe.cache_clear()
    with pytest.raises(SpecError, match="auto, jail, monty, none"):
        Sandbox("prison")  # type: ignore[arg-type]
