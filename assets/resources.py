"""The home as a Dagster resource, and progress that goes to a run's log."""

import time
from pathlib import Path

from dagster import ConfigurableResource, DagsterLogManager
from pydantic import Field

from engine.experiment import Experiment
from engine.home import Home

EVERY = 10.0  # seconds between two progress lines of one step


class Rondo(ConfigurableResource):
    """The home that the assets of this code location run in."""

    home: str = Field(description="the home folder (RONDO_HOME): experiments, lake, checkpoints, journal")

    def experiment(self, path: str) -> Experiment:
        """The experiment of a YAML as it is now, so that an edit counts without a reload. SpecError where it is broken."""
        return Experiment.load(Path(path), home=Home.find(self.home))


class LogProgress:
    """A `step.Progress` that writes to the run's log: where a step starts, and at most a line in `every` seconds."""

    def __init__(self, log: DagsterLogManager, every: float = EVERY) -> None:
        self.log, self.every = log, every
        self._label, self._unit = "", "rows"
        self._total, self._done, self._before = 0, 0, 0
        self._start = self._said = time.monotonic()

    def begin(self, label: str, total: int, done: int = 0, unit: str = "rows") -> None:
        """Starts counting to `total`; `done` were found in the journal."""
        self._label, self._total, self._done, self._before, self._unit = label, total, done, done, unit
        self._start = self._said = time.monotonic()
        self.log.info(f"{label}: {total:,} {unit}" + (f", {done:,} of them from the journal" if done else ""))

    def advance(self, rows: int) -> None:
        """`rows` more are done."""
        self._done += rows
        now = time.monotonic()
        if now - self._said < self.every:
            return
        self._said = now
        rate = (self._done - self._before) / max(now - self._start, 1e-9)
        left = (self._total - self._done) / rate if rate else 0.0
        self.log.info(f"{self._label}: {self._done:,} of {self._total:,} {self._unit}, {rate:,.0f} {self._unit}/s, {left:,.0f} s left")

    def note(self, text: str) -> None:
        """One line."""
        self.log.info(text.strip())

    def end(self) -> None:
        """Nothing to take down."""
