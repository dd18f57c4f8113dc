"""The home as a Dagster resource, which holds an experiment's lock through a run, and progress that goes to the run's log."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dagster import ConfigurableResource, DagsterLogManager, InitResourceContext
from pydantic import Field, PrivateAttr

from engine.experiment import Experiment
from engine.home import Home
from engine.run import Driver
from engine.step import Progress

WAIT = 30.0  # seconds that a run waits for another driver of the experiment to let go
EVERY = 10.0  # seconds between two progress lines of one step


class Rondo(ConfigurableResource):
    """The home that the assets of this code location run in."""

    home: str = Field(description="the home folder (RONDO_HOME): experiments, lake, checkpoints, journal")
    _held: ExitStack = PrivateAttr(default_factory=ExitStack)
    _driven: dict[str, tuple[Experiment, Driver]] = PrivateAttr(default_factory=dict)

    @contextmanager
    def yield_for_execution(self, context: InitResourceContext) -> Iterator["Rondo"]:
        """Lets go of every lock when the run ends, however it ends."""
        with self._held:
            yield self

    def drive(self, path: str, progress: Progress) -> tuple[Experiment, Driver]:
        """The experiment of a YAML with its driver; a run loads it once and holds its lock until it ends.

        SpecError where the YAML is broken, LockError while another process drives the experiment.
        """
        if path not in self._driven:
            experiment = self.experiment(path)
            self._driven[path] = experiment, self._held.enter_context(experiment.driver(progress, wait=WAIT))
        experiment, driver = self._driven[path]
        driver.progress = progress
        return experiment, driver

    def experiment(self, path: str) -> Experiment:
        """The experiment of a YAML as it is now, so that an edit counts without a reload. SpecError where it is broken."""
        return Experiment.load(Path(path), home=Home.find(self.home))


class LogProgress:
    """A `step.Progress` that writes to the run's log: where a step starts, and at most a line in `every` seconds."""

    def __init__(self, log: DagsterLogManager, every: float = EVERY) -> None:
        self.log, self.every = log, every
        self._label, self._unit, self._figures = "", "rows", ""
        self._total, self._done, self._before = 0, 0, 0
        self._start = self._said = time.monotonic()

    def begin(self, label: str, total: int, done: int = 0, unit: str = "rows") -> None:
        """Starts counting to `total`; `done` were found in the journal."""
        self._label, self._total, self._done, self._before, self._unit = label, total, done, done, unit
        self._start = self._said = time.monotonic()
        self._figures = ""
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
        said = f"{self._label}: {self._done:,} of {self._total:,} {self._unit}, {rate:,.0f} {self._unit}/s, {left:,.0f} s left"
        self.log.info(said + (f"; {self._figures}" if self._figures else ""))

    def figures(self, text: str) -> None:
        """Stands in the lines to come."""
        self._figures = text

    def note(self, text: str) -> None:
        """One line."""
        self.log.info(text.strip())

    def end(self) -> None:
        """Nothing to take down."""
