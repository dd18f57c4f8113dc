"""Runs model-written programs so that they cannot get out and cannot forge a verdict.

Two tiers. *monty*: a Python subset interpreter (the package pydantic-monty) without files, network or os, for simple
functions; it may only ever say `passed`, whatever else it says is judged again by full Python. *jail*: full Python under
bubblewrap. Each worker of the jail is two processes in two separate jails: the *player* runs the model's code, forked
per program from a warm process 1 that kills everything else of its pid namespace and empties /tmp before the next one; the
*referee* runs the tests, where the names that the code defines are proxies: a call goes to the player as plain data over a
socket, its result comes back as plain data in a closed encoding (no pickle, no marshal), and what is no plain data stays
behind an opaque handle that never equals a plain value. The verdict is what the referee says over its own socket; the
player cannot signal, trace, read or write the referee, and an exit status, a printed text or a patched module is no verdict.

Covered: files (an empty root with the interpreter and the system libraries, read-only; a private bounded /tmp; no /proc,
no /sys, of /dev only null, zero, random and urandom), environment (cleared), network (an own, empty network namespace and
no sockets), other processes (own pid, ipc, uts, cgroup and, where Rondo does not run as root, user namespace; an
unprivileged uid that is not the caller's where it does), new processes and programs (refused by a system call filter unless
`Limits.processes` > 1), kernel interfaces that programs do not need (the filter in filters.py), privileges (no_new_privs,
no capabilities), CPU time, wall time, memory, file size, open files, output, and what one program leaves for the next.

Not covered: faults of the kernel, of bubblewrap or of CPython that let code out of a jail; side channels of the CPU and of
timing; a limit on the memory of a whole worker (there is no cgroup: a program may use `memory` of address space plus
`files` of /tmp, and with `processes` > 1 that many times as much); fairness between programs on a machine that others
load; tests and setup code are taken as trusted (they run in the referee's jail). An object of a class that the code
defines is as honest as the code: what its methods say of each other is the player's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, get_args

from engine.errors import SpecError

MIB = 1 << 20
PASSED, FAILED, UNPARSEABLE, TIMEOUT, ERROR = "passed", "failed", "unparseable", "timeout", "error"
Kind = Literal["auto", "jail", "monty", "none"]


@dataclass(frozen=True)
class Limits:
    """What one program may use. Sizes in bytes.

    `seconds` are CPU seconds of the code. A program that waits has `wall`, 3 times as much and a second more; one that
    computes but gets little of a busy machine has `last`, so that no verdict depends on how many workers share the cores.
    `memory` is address space a process, `output` what is kept of stdout (the rest is counted), `files` the size of /tmp and of
    any one file, `processes` how many processes and threads may live at a time: with 1 the program may start threads (up to
    `threads`), but neither fork nor exec.
    """

    seconds: float = 5.0
    memory: int = 512 * MIB
    output: int = 64 * 1024
    files: int = 16 * MIB
    processes: int = 1
    threads: int = 32
    open_files: int = 64

    @property
    def wall(self) -> float:
        """Seconds of wall time after which a program that does not compute is killed."""
        return 3 * self.seconds + 1

    @property
    def last(self) -> float:
        """Seconds of wall time after which a program is killed whatever it does."""
        return 4 * self.wall


@dataclass(frozen=True)
class Program:
    """One program and how it is judged.

    With `tests`: the code runs, then the tests, in another process where the names that the code defines are proxies. Names
    of `setup` (helpers and imports that both sides run) and builtins win over names of the code, except `entry`. With `entry`
    and a test function `check`, `check(<the code's entry>)` is called after the tests are defined. Without `tests` the
    program runs as a script (`__name__` is `__main__`) and its stdout is the result, for the caller to compare.
    """

    code: str
    tests: str | None = None
    setup: str = ""
    entry: str | None = None
    stdin: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a program.

    `status`: passed (all tests held; without tests: it ran to its end with exit status 0), failed (an assertion, an exception
    or a limit other than time), unparseable (no Python), timeout, error (the tests or the sandbox broke). `detail` says why in
    words. `seconds` is CPU time of the code; `runner` is monty, jail or none.
    """

    status: str
    detail: str | None
    stdout: str
    seconds: float
    runner: str


class Sandbox:
    """Runs programs over `workers` parallel workers (None: one a core); use it as a context manager, or close() it.

    kind `auto` takes monty where it can run the program and the jail for the rest; `jail` and `monty` only that (what monty
    cannot run is then an `error`); `none` runs without a jail, in plain subprocesses under rlimits and the system call filter.
    StepError where no jail can be had.
    """

    def __init__(self, kind: Kind = "auto", workers: int | None = None, limits: Limits = Limits()) -> None:
        if kind not in get_args(Kind):
            raise SpecError(f"sandbox: no kind {kind!r}", hint=f"one of {', '.join(get_args(Kind))}")
        from engine.score.sandbox.pool import Pool
        from engine.score.sandbox.simple import Simple

        if kind in ("auto", "jail"):
            available()
        self.kind, self.limits = kind, limits
        self._pool = Pool(jailed=kind != "none", workers=workers, limits=limits) if kind != "monty" else None
        self._simple = Simple(limits, workers) if kind in ("auto", "monty") else None

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        """The outcomes, in the order of the programs; equal programs give equal statuses whatever runs beside them."""
        done: dict[int, Outcome] = {}
        if self._simple is not None:
            done = self._simple.run(programs, strict=self.kind == "monty")
        rest = [index for index in range(len(programs)) if index not in done]
        if self._pool is not None and rest:
            done.update(zip(rest, self._pool.run([programs[index] for index in rest]), strict=True))
        return [done[index] for index in range(len(programs))]

    def close(self) -> None:
        """Ends every worker; may be called twice."""
        for tier in (self._pool, self._simple):
            if tier is not None:
                tier.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def available() -> None:
    """StepError, with what to install or allow, where no jail can be had on this machine."""
    from engine.score.sandbox.jail import probe

    probe()
