"""The headless runner: drives an experiment round by round, step by step, under its lock.

The check whether a step must run is inside `Driver.step`, so the command line, the Dagster UI and a schedule behave
alike: an equal fingerprint runs nothing, a match elsewhere in the lake is copied in, anything else runs and commits.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from engine import specfile
from engine.check import check
from engine.commit import Commits
from engine.context import StepContext, find_model
from engine.device import requested, resolve
from engine.errors import StepError, Stopped
from engine.home import Home
from engine.lake import Lake
from engine.ledger import DEVICE, OPENING, Entry, Ledger
from engine.locks import Lock
from engine.promotion import Decision
from engine.rounds import State
from engine.rows import records
from engine.spec import Spec
from engine.step import BASE, Device, Progress, Silent, Step
from engine.tables import TABLES
from engine.warm import Warm


@dataclass(frozen=True)
class Done:
    """What became of a step."""

    round: int
    step: str
    state: str  # unchanged, reused, done, skipped
    entry: Entry | None = None


class Driver:
    """Drives one experiment while it holds the experiment's lock. Use as a context manager."""

    def __init__(
        self, spec: Spec, spec_path: Path, home: Home, progress: Progress | None = None, wait: float = 0.0, lake: Lake | None = None
    ) -> None:
        self.spec, self.spec_path, self.home = spec, spec_path, home
        self.progress = progress or Silent()
        self.lake = lake or Lake(home.lake)
        self.attempt = uuid.uuid4().hex[:12]
        self.lock = Lock(home.locks, spec.experiment, self.attempt, wait)
        self.warm = Warm(home.locks, home.logs / spec.experiment, self.attempt)
        self._decisions: list[Decision] | None = None  # read once, again after each decision
        self.after_commit: Callable[[Entry], None] = lambda entry: None

    def __enter__(self) -> Driver:
        self.lock.__enter__()
        try:
            self.ledger = Ledger(self.lake, self.spec.experiment)
            self.commits = Commits(self.ledger, self.lock, lambda entry: self.after_commit(entry))
            for entry in self.ledger.repair():
                self.progress.note(
                    f"{self.spec.experiment}: round {entry.round} {entry.step} was committed before a crash; ledger repaired"
                )
            self._sweep()
        except BaseException:
            self.lock.__exit__(None, None, None)
            raise
        return self

    def _sweep(self) -> None:
        """Removes journals of steps that are done: a crash came between the commit and the removal."""
        done = {f"{e.round}-{e.step}-{e.fingerprint}" for e in self.ledger.entries.values()}
        for folder in (self.home.journal / self.spec.experiment).glob("*"):
            if folder.name in done:
                shutil.rmtree(folder, ignore_errors=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.progress.end()
            self.warm.close()
        finally:
            self.lock.__exit__(kind, error, trace)

    def state(self) -> State:
        """The experiment as the lake has it now."""
        if self._decisions is None:
            self._decisions = decisions(self.lake, self.spec.experiment)
        return State(self.spec, self.spec_path, self.ledger.entries, self._decisions)

    def open(self, round_: int, bump: bool = False) -> None:
        """Records that a round is open, with the resolved spec; `bump` reopens it and all later ones."""
        state = self.state()
        opening = max((state.opening(r) for r in range(BASE, self.spec.rounds)), default=0) + 1 if bump else state.opening(round_)
        present = self.ledger.get(round_, OPENING)
        ingredients = {"opening": opening, "spec": self.spec.model_dump(mode="json")}
        asked, device = requested(self.spec.compute), self.ledger.get(BASE, DEVICE)
        resolved = None if device is not None and device.detail.get("requested") == asked else resolve(self.spec.compute)
        if present is None or present.ingredients != ingredients:
            self._before(state, round_)
            self.commits.fact(round_, OPENING, ingredients, {"versions": self.lake.versions(), "spec_path": str(self.spec_path)})
        if resolved is not None:
            self.commits.fact(BASE, DEVICE, resolved, {"requested": asked})

    def _before(self, state: State, round_: int) -> None:
        """Whatever can be found wrong without work is found here, before the first write of the round."""
        check(self.spec, self.spec_path)
        policy = state.policy(round_)
        if policy is not None:
            find_model(self.lake, self.home, self.spec.experiment, policy)

    def round(self, round_: int) -> list[Done]:
        """Runs what a round still needs, in order."""
        self.open(round_)
        return [self.step(round_, name) for name in self.state().graph(round_).steps]

    def step(self, round_: int, name: str) -> Done:
        """Brings one step up to date: nothing, a copy, or a run; an inactive step is skipped.

        A closed round is left as it is. Raises what the step raises; nothing is committed then.
        """
        state = self.state()
        steps = state.graph(round_).steps
        if name not in steps:
            return Done(round_, name, "skipped")
        if state.closed(round_):
            return Done(round_, name, "unchanged", self.ledger.get(round_, name))
        verdict = state.verdict(round_, name)
        if verdict.state == "done":
            return Done(round_, name, "unchanged", self.ledger.get(round_, name))
        if verdict.fingerprint is None:
            raise StepError(
                f"round {round_}, {name}: a step that it reads has not run", hint=f"`rondo run {self.spec.experiment}` runs them in order"
            )
        made = state.ingredients(round_, name)
        assert made is not None
        if name not in ("policy", "promotion"):
            copied = self.commits.copy(round_, steps[name], verdict.fingerprint, made)
            if copied is not None:
                self._say(copied)
                return Done(round_, name, "reused", copied)
        return Done(round_, name, "done", self._run(state, round_, steps[name], verdict.fingerprint, made))

    def _run(self, state: State, round_: int, step: Step, fingerprint: str, made: dict[str, object]) -> Entry:
        start = time.monotonic()
        attempt = uuid.uuid4().hex[:12]
        journal = self.home.journal / self.spec.experiment / f"{round_}-{step.name}-{fingerprint}"
        entry = self.ledger.get(BASE, DEVICE)
        assert entry is not None
        device = Device(**entry.ingredients)
        ctx = StepContext(
            specfile.at(self.spec, round_),
            self.spec_path,
            round_,
            self.home,
            self.lake,
            device,
            fingerprint,
            attempt,
            state.opening(round_),
            journal,
            self.progress,
            state,
            step.name,
            self.warm,
        )
        with self.warm.around(step, device):
            output = step.run(ctx)
        self.progress.end()
        done = self.commits.result(round_, step, fingerprint, made, attempt, output, time.monotonic() - start)
        self._decisions = None
        shutil.rmtree(journal, ignore_errors=True)
        self._say(done)
        return done

    def _say(self, entry: Entry) -> None:
        label = "base" if entry.round == BASE else f"{entry.round:03d}"
        counts = f"{entry.rows_in:,} -> {entry.rows_out:,} rows" if entry.table else entry.content_hash
        how = f"reused from {entry.reused_from}" if entry.reused_from else f"{entry.seconds:.1f} s"
        said = entry.detail.get("summary")
        self.progress.note(f"  {label}  {entry.step:<24} {counts:<24} {how}" + (f"  {said}" if said else ""))

    def run(self, first: int | None = None, until: int | None = None) -> list[Done]:
        """Runs rounds to the last one (or `until`), until the learning curve has flattened (`stop` of the spec), or until the
        gate holds one under `on_fail: stop` (Stopped).

        `first` reopens that round and all later ones.
        """
        if first is not None:
            self.open(first, bump=True)
        done: list[Done] = []
        while True:
            state = self.state()
            self._halt(state)
            round_ = state.next_round()
            if round_ is None or (until is not None and round_ > until):
                return done
            done += self.round(round_)
            if not self.state().closed(round_):
                raise StepError(f"round {round_} ran all its steps and has no decision", hint="please report this with `rondo env`")

    def _halt(self, state: State) -> None:
        held = state.stopped()
        if held is not None:
            name, at = self.spec.experiment, held.round
            raise Stopped(
                f"{name}: round {at} was held at the gate ({held.reason}), and gate.on_fail is stop",
                hint=f"`rondo promote {name}@{at} --force --reason WHY`, `rondo rollback {name} --reason WHY`, "
                f"or change the spec and `rondo run {name} --from {at}`",
            )

    def decide(self, decision: Decision) -> None:
        """Appends a decision of a person."""
        rows = pa.Table.from_pylist([decision.row()], schema=TABLES["promotions"].columns)
        self.commits.append("promotions", rows, decision.round, decision.role)
        self._decisions = None


def decisions(lake: Lake, experiment: str) -> list[Decision]:
    """Every row of `promotions` of an experiment."""
    return [Decision.of(row) for row in records(lake.read("promotions", experiment=experiment))]
