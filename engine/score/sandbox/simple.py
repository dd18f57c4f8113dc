"""Tier 1: simple functions with simple tests in monty, a Python subset interpreter in Rust that has no way to the system.

Code and tests share one monty session, so only programs are taken in which the code cannot reach what judges it (subset.py).
Everything else, and everything that monty does not say `passed` to, goes to full Python in the jail: monty's gaps then cost
time and no verdict.
"""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engine.errors import StepError
from engine.score.sandbox import ERROR, FAILED, MIB, PASSED, TIMEOUT, UNPARSEABLE, Limits, Outcome, Program
from engine.score.sandbox.subset import unfit

RUNNER = "monty"
SECONDS = 0.25  # a program that takes longer in monty is better off in the jail
MEMORY = 64 * MIB
DEPTH = 800  # calls; below what full Python allows, so that a deeper program is judged there


class Simple:
    """A monty process more than `workers` (None: one a core), with a thread each; started with the first programs."""

    def __init__(self, limits: Limits, workers: int | None) -> None:
        # one more than cores, since a thread waits for its process half of the time
        self._limits, self._count = limits, (workers or len(os.sched_getaffinity(0))) + 1
        self._pool: Any = None

    def run(self, programs: Sequence[Program], strict: bool = False) -> dict[int, Outcome]:
        """The outcomes of the programs that monty can judge, by place; with `strict` every program gets one."""
        places = range(len(programs))
        if not places:
            return {}
        self._start()
        # while one thread reads a program, the process of another runs one
        with ThreadPoolExecutor(self._count, thread_name_prefix="monty") as threads:
            shares = threads.map(lambda first: self._share(programs, places[first :: self._count], strict), range(self._count))
            return {place: outcome for share in shares for place, outcome in share}

    def _share(self, programs: Sequence[Program], places: range, strict: bool) -> list[tuple[int, Outcome]]:
        done = []
        for place in places:
            program = programs[place]
            reason = unfit(program)
            outcome = Outcome(ERROR, f"monty cannot run it: {reason}", "", 0.0, RUNNER) if reason else self._judge(program)
            if strict and reason:
                outcome = _parsed(program, outcome)
            if strict or outcome.status == PASSED:
                done.append((place, outcome))
        return done

    def close(self) -> None:
        """Ends the monty process."""
        if self._pool is not None:
            self._pool.__exit__(None, None, None)
            self._pool = None

    def _judge(self, program: Program) -> Outcome:
        import pydantic_monty as monty

        printed = monty.CollectString(max_bytes=self._limits.output)
        limits: Any = {"max_feed_duration_secs": min(SECONDS, self._limits.seconds), "max_memory": min(MEMORY, self._limits.memory)}
        limits["max_recursion_depth"] = DEPTH
        began = time.perf_counter()
        status, detail = PASSED, None
        try:
            with self._pool.checkout(limits=limits, assert_message_annotations=False) as session:
                session.feed_run(_text(program), print_callback=printed)
        except monty.MontyRuntimeError as error:
            raised = error.exception()
            status, detail = _STATUSES.get(type(raised), ERROR), str(error)[:400]
        except (monty.MontyError, TimeoutError) as error:
            status, detail = ERROR, f"monty: {error}"[:400]
        return Outcome(status, detail, printed.output, time.perf_counter() - began, RUNNER)

    def _start(self) -> None:
        if self._pool is None:
            try:
                import pydantic_monty as monty
            except ImportError as error:
                raise StepError("the sandbox `auto` needs pydantic-monty", hint="pip install pydantic-monty, or `sandbox: jail`") from error
            patience = self._limits.wall + 10
            pool = monty.Monty(min_processes=1, max_processes=self._count, checkout_timeout=30.0, request_timeout=patience)
            self._pool = pool.__enter__()


_STATUSES: dict[type, str] = {
    AssertionError: FAILED, MemoryError: FAILED, RecursionError: FAILED, TimeoutError: TIMEOUT, ZeroDivisionError: FAILED,
    IndexError: FAILED, KeyError: FAILED, ValueError: FAILED, TypeError: FAILED,
}  # fmt: skip


def _text(program: Program) -> str:
    call = f"check({program.entry})" if program.entry else ""
    return f"{program.setup}\n{program.code}\n{program.tests}\n{call}\n"


def _parsed(program: Program, outcome: Outcome) -> Outcome:
    try:
        ast.parse(program.code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Outcome(UNPARSEABLE, f"{type(error).__name__}: {error}", "", 0.0, RUNNER)
    return outcome
