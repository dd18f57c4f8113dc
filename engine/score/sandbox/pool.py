"""The workers of the sandbox: hands programs out, takes outcomes in, replaces what dies or does not answer.

A program that is lost with its worker runs once more, alone; lost again it gets a verdict that says so. Every wait has an
end, and nothing here reads more than a bounded message.
"""

from __future__ import annotations

import os
import selectors
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from engine.score.sandbox import FAILED, TIMEOUT, Limits, Outcome, Program, jail
from engine.score.sandbox.worker import START, Worker

AHEAD = 8  # programs that a worker has at a time, so that it never waits for the host
PATIENCE = 10.0  # seconds of wall time beyond a program's own limit before its worker is taken for dead
RECYCLED = 2000  # programs after which a worker is replaced
LONGEST = 4 << 20  # characters of a program with its tests


class Pool:
    """Workers of one kind; they start when they are first needed and stay until `close`."""

    def __init__(self, jailed: bool, workers: int | None, limits: Limits) -> None:
        self._jailed, self._limits = jailed, limits
        self._runner = "jail" if jailed else "none"
        self._count = workers or len(os.sched_getaffinity(0))
        self._workers: list[Worker] = []

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        """The outcomes in order. StepError where no worker can be started."""
        return _Run(self, programs).outcomes()

    def close(self) -> None:
        """Ends every worker."""
        while self._workers:
            self._workers.pop().close()

    def pids(self) -> list[int]:
        """Every process that this pool has started and not ended."""
        return [pid for worker in self._workers for pid in worker.pids()]

    def worker(self) -> Worker:
        """A fresh worker."""
        made = Worker(jail.probe() if self._jailed else None, self._limits)
        self._workers.append(made)
        return made

    def drop(self, worker: Worker) -> None:
        """Ends a worker."""
        self._workers.remove(worker)
        worker.close()

    @property
    def workers(self) -> list[Worker]:
        return self._workers

    @property
    def size(self) -> int:
        return self._count

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def runner(self) -> str:
        return self._runner


class _Run:
    """One call of `Pool.run`."""

    def __init__(self, pool: Pool, programs: Sequence[Program]) -> None:
        self._pool, self._programs = pool, programs
        self._waiting: deque[int] = deque()
        self._suspects: deque[int] = deque()  # lost with a worker once: they run alone
        self._lost: dict[int, str] = {}
        self._done: dict[int, Outcome] = {}
        for index, program in enumerate(programs):
            long = sum(len(text or "") for text in (program.code, program.tests, program.setup, program.stdin))
            if long > LONGEST:
                self._verdict(index, FAILED, f"a program of {long} characters; {LONGEST} are allowed")
            else:
                self._waiting.append(index)

    def outcomes(self) -> list[Outcome]:
        pool = self._pool
        try:
            while len(self._done) < len(self._programs):
                left = len(self._programs) - len(self._done)
                while len(pool.workers) < min(pool.size, left):
                    pool.worker()
                for worker in list(pool.workers):
                    self._feed(worker)
                self._wait()
        except BaseException:
            # a half-answered worker must not answer the next call
            pool.close()
            raise
        return [self._done[index] for index in range(len(self._programs))]

    def _feed(self, worker: Worker) -> None:
        if not worker.outstanding and worker.served >= RECYCLED:
            self._pool.drop(worker)
            worker = self._pool.worker()
        if not worker.outstanding and self._suspects:
            self._give(worker, self._suspects.popleft())
            return
        alone = bool(worker.outstanding) and worker.outstanding[0] in self._lost
        # near the end no worker takes what another could do at once
        ahead = min(AHEAD, len(self._waiting) // (2 * self._pool.size) + 1, RECYCLED - worker.served)
        while self._waiting and len(worker.outstanding) < ahead and not alone:
            self._give(worker, self._waiting.popleft())

    def _give(self, worker: Worker, index: int) -> None:
        program = self._programs[index]
        work = {"code": program.code, "tests": program.tests, "setup": program.setup, "entry": program.entry}
        worker.give(index, {**work, "stdin": program.stdin})

    def _wait(self) -> None:
        """Reads and writes what can be, until something came or a worker's time is over."""
        with selectors.DefaultSelector() as selector:
            for worker in self._pool.workers:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.writing else 0)
                selector.register(worker.socket, events, worker)
            end = min((self._deadline(worker) for worker in self._pool.workers if worker.outstanding), default=time.monotonic() + 1)
            ready = selector.select(max(0.0, end - time.monotonic()))
        for key, events in ready:
            self._serve(key.data, events)
        now = time.monotonic()
        for worker in list(self._pool.workers):
            if worker.outstanding and now > self._deadline(worker):
                self._gone(worker, f"no answer within {self._limit():g} s")

    def _limit(self) -> float:
        return self._pool.limits.last + PATIENCE

    def _deadline(self, worker: Worker) -> float:
        return worker.since + (self._limit() if worker.ready else START)

    def _serve(self, worker: Worker, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                worker.write()
            if events & selectors.EVENT_READ:
                for message in worker.read():
                    self._take(message)
        except (EOFError, OSError, ValueError, KeyError):
            self._gone(worker, "it ended the process that runs it")

    def _take(self, message: dict[str, Any]) -> None:
        self._done[message["id"]] = Outcome(
            message["status"], message["detail"], message["stdout"], float(message["seconds"]), self._pool.runner
        )

    def _gone(self, worker: Worker, why: str) -> None:
        """A worker that died or does not answer: its first program is the suspect, those behind it wait again."""
        outstanding = list(worker.outstanding)
        try:
            worker.check_start()
        finally:
            self._pool.drop(worker)
        if not outstanding:
            return
        # verdicts may have been on their way, so only a program that ran alone is known to be the cause
        alone = outstanding[0] in self._lost
        if alone:
            late = why.startswith("no answer")
            self._verdict(
                outstanding[0], TIMEOUT if late else FAILED, f"{why}, twice" if late else f"{why}, twice ({self._lost[outstanding[0]]})"
            )
            outstanding = outstanding[1:]
        for index in outstanding:
            self._lost[index] = why
            self._suspects.append(index)

    def _verdict(self, index: int, status: str, detail: str) -> None:
        self._done[index] = Outcome(status, detail, "", 0.0, self._pool.runner)
