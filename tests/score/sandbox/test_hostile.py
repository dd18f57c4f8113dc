"""Programs that try to get out, to forge a verdict or to hurt what runs beside them: nothing comes of any."""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from engine.errors import StepError
from engine.score.sandbox import MIB, Limits, Outcome, Program, Sandbox, available

PROGRAMS = yaml.safe_load((Path(__file__).parent / "hostile.yaml").read_text())
CASES = [case for cases in PROGRAMS.values() for case in cases if case.get("machine", platform.machine()) == platform.machine()]
PROJECT = Path(__file__).parents[3]
LIMITS = Limits(seconds=1, memory=256 * MIB, files=8 * MIB)
IMPORTS = "import asyncio, ctypes, os, shutil, socket, stat, subprocess, sys, time"
HARD = {
    "BRACKETS": "[" * 100_000 + "]" * 100_000,
    "MINUSES": "-" * 100_000,
    "CHAIN": ".".join(["real"] * 100_000),
    "LAMBDAS": "lambda: " * 50_000,
    "SUM": "1 + " * 200_000,
}
GOOD = Program("def add(a, b):\n    return a + b\n", "assert add(1, 2) == 3\nassert add([1], [2]) == [1, 2]\n")

try:
    available()
except StepError as missing:
    pytest.skip(f"no jail here: {missing.message}", allow_module_level=True)


class Trial(NamedTuple):
    outcomes: dict[str, Outcome]
    beside: list[Outcome]
    connections: int
    folder: Path
    cores: int


def program(case: dict[str, Any], places: dict[str, str]) -> Program:
    """The program of a case; `refused` is an expression that must raise, and gives away what it got if it does not."""
    code = case.get("code")
    if code is None:
        code = f"{IMPORTS}\ndef attempt():\n    try:\n        found = {case['refused']}\n    except (OSError, ImportError):\n"
        code += "        return 'contained'\n    return 'ESCAPED: ' + repr(found)[:100]\n"
    for name, value in {**places, **HARD}.items():
        code = code.replace(name, value)
    return Program(code, case.get("tests", "assert attempt() == 'contained'\n"), case.get("setup", ""), case.get("entry"))


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Every hostile program, each between two good ones, in one sandbox of two workers."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "planted-secret").write_text("planted")
    with pytest.MonkeyPatch.context() as patch, socket.socket() as listener, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        patch.setenv("RONDO_PLANTED", "planted")
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        port = listener.getsockname()[1]
        datagrams.bind(("127.0.0.1", port))
        datagrams.setblocking(False)
        places = {"SECRET": str(folder / "planted-secret"), "FOLDER": str(folder), "PORT": str(port), "PROJECT": str(PROJECT)}
        programs = [program(case, {**places, "HOST_PID": str(os.getpid())}) for case in CASES]
        with Sandbox("jail", workers=2, limits=LIMITS) as sandbox:
            outcomes = sandbox.run([one for hostile in programs for one in (hostile, GOOD)])
        connections = 0
        for source in (listener, datagrams):
            try:
                source.accept() if source is listener else source.recv(1)
                connections += 1
            except BlockingIOError:
                pass
        yield Trial(
            {case["name"]: outcome for case, outcome in zip(CASES, outcomes[::2], strict=True)},
            outcomes[1::2],
            connections,
            folder,
            len(list(PROJECT.glob("core*"))),
        )


def test_there_are_many_and_each_is_told_apart() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_hostile_program_gets_an_honest_verdict(trial: Trial, case: dict[str, Any]) -> None:
    outcome, expected = trial.outcomes[case["name"]], case.get("expect", "passed")
    assert "ESCAPED" not in f"{outcome.detail}{outcome.stdout}", outcome
    if expected != "any":
        assert outcome.status in ([expected] if isinstance(expected, str) else expected), outcome
    assert case.get("says", "") in (outcome.detail or ""), outcome
    assert len(outcome.stdout) <= LIMITS.output + 100
    assert outcome.runner == "jail"


def test_good_programs_beside_them_all_pass(trial: Trial) -> None:
    assert {(outcome.status, outcome.detail) for outcome in trial.beside} == {("passed", None)}


def test_the_host_saw_and_lost_nothing(trial: Trial) -> None:
    assert trial.connections == 0
    assert [path.name for path in trial.folder.iterdir()] == ["planted-secret"]
    assert (trial.folder / "planted-secret").read_text() == "planted"
    assert not Path("/planted").exists()


def test_what_may_fork_is_bounded_and_ended() -> None:
    bomb = "import os\ndef attempt():\n    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass\n"
    daemon = """
import os, time
def attempt():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for _ in range(100):
                time.sleep(0.05)
                open('/tmp/late', 'a').write('x')
        os._exit(0)
    os.wait()
    return 'contained'
"""
    find = "import os, time\ndef attempt():\n    time.sleep(0.3)\n    return os.listdir('/tmp') or 'contained'\n"
    tests = "assert attempt() == 'contained'\n"
    limits = Limits(seconds=0.5, memory=128 * MIB, processes=6)
    with Sandbox("jail", workers=1, limits=limits) as sandbox:
        outcomes = sandbox.run([Program(code, tests) for code in (bomb, daemon, find, bomb, find)])
    assert [outcome.status for outcome in outcomes] == ["timeout", "passed", "passed", "timeout", "passed"]


def test_a_program_may_hold_no_more_processes_than_its_limit() -> None:
    code = """
import os, time
def count():
    made = 0
    try:
        for _ in range(50):
            if os.fork() == 0:
                time.sleep(5)
                os._exit(0)
            made += 1
    except OSError:
        pass
    return made
"""
    with Sandbox("jail", workers=1, limits=Limits(seconds=2, processes=4)) as sandbox:
        (outcome,) = sandbox.run([Program(code, "assert count() == 3\n")])
    assert outcome.status == "passed", outcome


def test_the_sandbox_ends_soon_after_its_programs() -> None:
    began = time.monotonic()
    with Sandbox("jail", workers=1, limits=LIMITS) as sandbox:
        sandbox.run([Program("import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n", "assert True\n")])
    assert time.monotonic() - began < 60
