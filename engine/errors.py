"""Every error that Rondo raises on purpose: what was expected, what was found, where, and what to do next."""

from __future__ import annotations


class RondoError(Exception):
    """Base of all expected failures; the command line prints it without a traceback and exits with `code`."""

    code = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        self.message, self.where, self.hint = message, where, hint
        super().__init__(message)

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  next: {self.hint}" if self.hint else text


class SpecError(RondoError):
    """The experiment file is wrong; raised before any work."""

    code = 2


class DataError(RondoError):
    """A prompt, demonstration or recorded row is wrong; names file and line."""

    code = 2


class QueryError(RondoError):
    """A SQL text cannot run, or its result does not have the declared columns."""

    code = 2


class SchemaError(RondoError):
    """Rows do not fit the declared Arrow schema of their table."""


class LakeError(RondoError):
    """The lake cannot be read or written (missing, read-only, full, a version that is gone)."""


class ModelError(RondoError):
    """A model or checkpoint folder is missing, incomplete or not what its digest says."""


class StepError(RondoError):
    """A step finished with rows missing, or its own invariant does not hold."""


class LockError(RondoError):
    """Another process drives the same experiment or device."""

    code = 4


class Stopped(RondoError):
    """The gate held a checkpoint and `on_fail: stop` asks for a person."""

    code = 3
