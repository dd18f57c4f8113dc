"""One process that runs an engine: started, spoken to, watched, and ended with everything that it has started itself."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

from engine.errors import StepError

WORKER = Path(__file__).parent / "worker.py"
PATIENCE = 10.0  # seconds that a process gets to end when it is told to, and again when it is asked by SIGTERM
LAST_LINES = 15
TAIL = 1 << 16  # bytes of a log in which its last lines are looked for
POLL = 0.02  # seconds

# The kernel's signal to a process whose parent dies comes when the *thread* that started it ends, so one that never does starts all.
_starter = ThreadPoolExecutor(1, "engine-starter")


class News(NamedTuple):
    """What a process said; None: it has ended."""

    child: Child
    said: dict[str, Any] | None


class Child:
    """A process that runs `worker.py` under `python`, with `environment` added to ours.

    What it says goes to `news`, what it prints is added to `log`. StepError where `python` cannot be run.
    """

    def __init__(self, python: str, environment: Mapping[str, str], log: Path, news: queue.SimpleQueue[News]) -> None:
        self.log, self.heard = log, time.monotonic()
        self._outbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        try:
            with log.open("ab") as printed:
                self._process: subprocess.Popen[bytes] = _starter.submit(
                    subprocess.Popen,
                    [python, str(WORKER), str(os.getpid())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=printed,
                    env={**os.environ, **environment, "PYTHONSAFEPATH": "1"},  # the folder of worker.py is not where it looks for modules
                    start_new_session=True,  # Ctrl-C is for us; and its group is what ends with it
                ).result()
        except OSError as error:
            raise StepError(f"cannot start an engine: {error}", where=python, hint="set params.python to a Python that has vllm") from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._threads = [
            threading.Thread(target=_write, args=(self._process.stdin, self._outbox), daemon=True),
            threading.Thread(target=self._read, args=(self._process.stdout, news), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its group."""
        return self._process.pid

    def send(self, order: dict[str, Any]) -> None:
        """Sends an order; never waits. What a dead process was sent is lost, and its end is in the news."""
        self._outbox.put(order)

    def ended(self) -> bool:
        """Whether the process has ended. It keeps its id (and its group's) until `close`."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def close(self, patience: float = PATIENCE) -> None:
        """Ends the process and its group: by an order, after `patience` seconds by SIGTERM, after as many again by SIGKILL.

        Returns when the process is gone and its memory free; may be called twice.
        """
        if self._process.returncode is not None:
            return
        self.send({"end": True})
        if not self._gone(patience):
            self._kill(signal.SIGTERM)
            self._gone(patience)
        # Whatever of its group is left: the id is still this group's, since the process is not yet waited for.
        self._kill(signal.SIGKILL)
        self._process.wait()
        self._outbox.put(None)
        for thread in self._threads:
            thread.join(timeout=PATIENCE)

    def why(self) -> str:
        """How it ended, and the last lines of its log."""
        code = self._process.returncode
        if code is None:
            result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            how = "still runs" if result is None else _how(-result.si_status if result.si_code != os.CLD_EXITED else result.si_status)
        else:
            how = _how(code)
        return f"process {self.pid} {how}; its last lines:\n{last_lines(self.log)}"

    def _gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True

    def _kill(self, what: signal.Signals) -> None:
        try:
            os.killpg(self.pid, what)
        except ProcessLookupError:  # ended before it could make its group
            self._process.send_signal(what)

    def _read(self, said: IO[bytes], news: queue.SimpleQueue[News]) -> None:
        with said:
            for line in said:
                try:
                    found = json.loads(line)
                except ValueError:  # the half line of a process that was killed
                    break
                self.heard = time.monotonic()
                news.put(News(self, found))
        news.put(News(self, None))


def _write(orders: IO[bytes], outbox: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    try:
        with orders:
            while (order := outbox.get()) is not None:
                orders.write(json.dumps(order, separators=(",", ":")).encode() + b"\n")
                orders.flush()
    except BrokenPipeError:  # it died: the reader says so
        return


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    """The last lines of a file that have something in them, indented."""
    text = log.read_bytes()[-TAIL:].decode(errors="replace") if log.exists() else ""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(f"    {line:.300}" for line in lines[-count:]) or "    (it printed nothing)"
