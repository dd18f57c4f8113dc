"""The sandbox of a verifier: settings as a spec writes them, opened at the first program, closed with the verifier."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from engine.params import Params
from engine.score.sandbox import MIB, Kind, Limits, Outcome, Program, Sandbox, available


class Running(Params):
    """Settings of every verifier that runs programs. `workers` changes no verdict, so it is no part of a scorer's version."""

    seconds: float = Field(5.0, gt=0, description="CPU seconds of one program or query (of wall time 3 times as many and one more)")
    memory: int = Field(512, ge=64, description="MiB of address space of one program")
    workers: int | None = Field(None, ge=1, exclude=True, description="programs that run at a time; none: one a core")


class Runner:
    """Runs programs in a sandbox that it opens when there are some."""

    def __init__(self, kind: Kind, workers: int | None, limits: Limits) -> None:
        self._kind, self._workers, self._limits = kind, workers, limits
        self._sandbox: Sandbox | None = None

    def run(self, programs: Sequence[Program]) -> list[Outcome]:
        """The outcomes in the order of the programs. StepError, with what to install, where no jail can be had."""
        if not programs:
            return []
        if self._sandbox is None:
            self._sandbox = Sandbox(self._kind, self._workers, self._limits)
        return self._sandbox.run(programs)

    def check(self) -> None:
        """StepError, with what to install, where it needs a jail and none can be had."""
        if self._kind in ("auto", "jail"):
            available()

    def close(self) -> None:
        """Ends the workers; the next program opens new ones."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            sandbox.close()


def limits(params: Running, **more: int) -> Limits:
    """A program's limits; `more` are those that a verifier has settings of its own for, in the units of Limits."""
    return Limits(seconds=params.seconds, memory=params.memory * MIB, **more)
