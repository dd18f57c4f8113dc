"""The words in which a verdict is told: which test, what was found, which exception where, which limit."""

from __future__ import annotations

import traceback
from typing import Any

from .plan import TESTS
from .requests import Link

SIGNALS = {6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS"}


def failed(error: Any, made: Any, link: Link, defined: dict[str, Any]) -> Any:
    """The verdict on a test that raised."""
    line = next(
        (number for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))) if frame.f_code.co_filename == TESTS), 0
    )
    where = made.source(line)
    if isinstance(error, AssertionError) and link.line is None:
        found = link.found()
        said = f" ({error})" if str(error) else ""
        return "failed", f"{where}{said}" + (f": found {found}" if found is not None else "")
    if isinstance(error, ImportError) and link.line is None:
        return "error", f"{where}: {shown(error)}"  # what the tests import is not the code's fault
    if isinstance(error, NameError) and error.name is not None and error.name not in defined and link.line is None:
        return "failed", f"{where}: the code does not define {error.name}"
    return "failed", f"{where}: {raised(error, link)}"


def raised(error: Any, link: Link) -> Any:
    """An exception of the code, with its line."""
    at = f" (line {link.line} of the code)" if link.line else ""
    return f"{shown(error)}{at}"


def shown(error: Any) -> Any:
    """An exception, as Python shows it."""
    text = str(error)[:400]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def settle(verdict: tuple[str, str | None], end: dict[str, Any], limits: dict[str, Any]) -> Any:
    """(status, detail), with what process 1 saw of the end where the verdict asks for it."""
    status, detail = verdict
    if status == "failed" and detail and "MemoryError" in detail:
        detail += f" (a program has {limits['memory'] >> 20} MiB)"
    if status != "gone":
        return status, detail
    reason, code = end["reason"], end["exit"]
    if reason == "cpu" or code == -24:
        return "timeout", f"more than {limits['seconds']:g} s of CPU time"
    if reason == "wall":
        return "timeout", "no result in time, of which it used little"
    if reason:
        return "failed", reason
    if code < 0:
        return "failed", f"the code's process was killed by {SIGNALS.get(-code, f'signal {-code}')}"
    return "failed", f"the code ended its own process with status {code} before the tests had passed"
