"""Runs a task in a process of its own, watches its memory, and ends it where it takes too long."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import engine
from engine.generate.asks import Pair
from engine.generate.bench import Repeat
from engine.generate.bench.measure import Task

STARTING = 1200.0  # seconds that a backend may take to its first token
LOOK = 0.05  # seconds between two looks at the memory
ENDING = 20.0  # seconds that it may take to end
CHILD = (sys.executable, "-m", "engine.generate.bench.child")


@dataclass
class Outcome:
    """What a process told. `whole`: it made all repeats, because starting again would take longer."""

    start: float | None = None
    whole: bool = False
    repeats: list[Repeat] = field(default_factory=list)
    answers: dict[Pair, str] = field(default_factory=dict)
    changed: int = 0
    detail: dict[str, Any] = field(default_factory=dict)
    memory: int = 0
    gpu: int | None = None
    failed: str | None = None
    reason: str | None = None
    done: bool = False

    def take(self, line: str) -> None:
        """A line of the channel."""
        found = json.loads(line)
        if "start" in found:
            self.start, self.whole = found["start"], found["whole"]
        if "repeat" in found:
            self.repeats.append(Repeat(**found["repeat"]))
        if "failed" in found:
            self.failed, self.reason = found["failed"], found["reason"]
        if "done" in found:
            self.done = True
            self.answers = {(prompt, sample): content for prompt, sample, content in found["answers"]}
            self.changed, self.detail, self.gpu = found["changed"], found["detail"], found["gpu"]
            self.memory = max(self.memory, found["memory"] or 0)


def run(task: Task, limit: float, command: Sequence[str] = CHILD, starting: float = STARTING) -> Outcome:
    """Measures `task`; `limit`: seconds that a repeat may take before the setting counts as too slow. Its children end with it."""
    folder, outcome = Path(task.folder), Outcome()
    (folder / "task.json").write_text(json.dumps(asdict(task)), encoding="utf-8")
    with (folder / "errors.txt").open("w+b") as errors:
        words = [*command, str(folder / "task.json"), str(os.getpid())]
        # of its own session, so that its children can be ended with it, and Ctrl-C reaches it through this process alone
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, env=_env(), start_new_session=True)
        ending = 0.0
        try:
            ending = ENDING if _follow(child, outcome, limit, starting) else 0.0
        finally:
            _end(child, ending)
        if outcome.failed is None and not outcome.done:
            outcome.failed, outcome.reason = _death(child.returncode, errors)
    return outcome


def _env() -> dict[str, str]:
    """This process's, with this very `engine` importable."""
    root = str(Path(engine.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}


def _follow(child: subprocess.Popen[bytes], outcome: Outcome, limit: float, starting: float) -> bool:
    """Takes what the process tells. Whether it has told everything; False where it takes too long."""
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    assert child.stdout is not None
    threading.Thread(target=_read, args=(child.stdout, lines), daemon=True).start()
    heard = time.monotonic()
    while True:
        try:
            line = lines.get(timeout=LOOK)
        except queue.Empty:
            outcome.memory = max(outcome.memory, resident(child.pid))
            silent, allowed = time.monotonic() - heard, starting if outcome.start is None else limit
            if silent > allowed:
                what = "started" if outcome.start is None else "finished a first batch"
                outcome.failed, outcome.reason = "slow", f"has not {what} within {allowed:.0f} s"
                return False
            continue
        if line is None:
            return True
        outcome.take(line.decode())
        heard = time.monotonic()


def _read(stream: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def resident(pid: int) -> int:
    """Bytes resident in a process and its children, theirs included; 0 where it is gone."""
    import psutil

    total = 0
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        for one in [top, *top.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total


def _end(child: subprocess.Popen[bytes], seconds: float) -> None:
    """Gives a process time to end by itself, then ends it and whatever it has started."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _death(code: int, errors: IO[bytes]) -> tuple[str, str]:
    """Why a process ended that has not told it."""
    if code == -signal.SIGKILL:
        return "memory", "out of memory (the system ended the process)"
    errors.seek(0)
    lines = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    return "crashed", f"ended with code {code}: {lines[-1] if lines else 'it said nothing'}"
