"""The headless runner: drives an experiment round by round, step by step, under its lock.

The check whether a step must run is inside `Driver.step`, so the command line, the Dagster UI and a schedule behave
alike: an equal fingerprint runs nothing, a match elsewhere in the lake is copied in, anything else runs and commits.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from engine import specfile
from engine.check import check
from engine.context import StepContext, find_model
from engine.device import resolve
from engine.errors import StepError, Stopped
from engine.home import Home
from engine.ids import digest
from engine.lake import Lake, content_hash, own_columns, records
from engine.ledger import ENTRY, Entry, Ledger
from engine.locks import Lock
from engine.promotion import Decision
from engine.rounds import DEVICE, OPENING, State
from engine.spec import Spec
from engine.step import BASE, Device, Output, Progress, Silent, Step
from engine.tables import TABLES


@dataclass(frozen=True)
class Done:
    """What became of a step."""

    round: int
    step: str
    state: str  # unchanged, reused, done, skipped
    entry: Entry | None = None


class Driver:
    """Drives one experiment while it holds the experiment's lock. Use as a context manager."""

    def __init__(self, spec: Spec, spec_path: Path, home: Home, progress: Progress | None = None, wait: float = 0.0) -> None:
        self.spec, self.spec_path, self.home = spec, spec_path, home
        self.progress = progress or Silent()
        self.lake = Lake(home.lake)
        self.attempt = uuid.uuid4().hex[:12]
        self.lock = Lock(home.locks, spec.experiment, self.attempt, wait)
        self._decisions: list[Decision] | None = None  # read once, again after each decision
        self.after_commit: Callable[[Entry], None] = lambda entry: None

    def __enter__(self) -> Driver:
        self.lock.__enter__()
        try:
            self.ledger = Ledger(self.lake, self.spec.experiment)
            for entry in self.ledger.repair():
                self.progress.note(f"{self.spec.experiment}: round {entry.round} {entry.step} was committed before a crash; ledger repaired")
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
        self.progress.end()
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
        requested = self.spec.compute.model_dump(include={"device", "threads", "dtype"})
        device = self.ledger.get(BASE, DEVICE)
        resolved = None if device is not None and device.detail.get("requested") == requested else resolve(self.spec.compute)
        if present is None or present.ingredients != ingredients:
            self._before(state, round_)
            self._record(round_, OPENING, ingredients, detail={"versions": self.lake.versions(), "spec_path": str(self.spec_path)})
        if resolved is not None:
            self._record(BASE, DEVICE, resolved, detail={"requested": requested})

    def _before(self, state: State, round_: int) -> None:
        """Whatever can be found wrong without work is found here, before the first write of the round."""
        check(self.spec, self.spec_path)
        policy = state.policy(round_)
        if policy is not None:
            find_model(self.lake, self.home, self.spec.experiment, policy)

    def _record(self, round_: int, step: str, ingredients: dict[str, object], detail: dict[str, object] | None = None) -> None:
        self.lock.check()
        self.ledger.commit(Entry(self.spec.experiment, round_, step, "", (), digest(ingredients), ingredients, digest(ingredients),
                                 uuid.uuid4().hex[:12], 0, 0, "done", 0.0, detail=detail or {}))

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
            raise StepError(f"round {round_}, {name}: a step that it reads has not run", hint=f"`rondo run {self.spec.experiment}` runs them in order")
        made = state.ingredients(round_, name)
        assert made is not None
        if name not in ("policy", "promotion"):
            copied = self._reuse(round_, name, steps[name], verdict.fingerprint, made)
            if copied is not None:
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
            specfile.at(self.spec, round_), self.spec_path, round_, self.home, self.lake, device, fingerprint, attempt,
            state.opening(round_), journal, self.progress, state, step.name,
        )
        shared = step.on_device and device.device != "cpu"  # the CPU is shared by its threads, a GPU by nobody
        with Lock(self.home.locks, f"device-{device.device}", attempt, wait=7 * 86400) if shared else nullcontext():
            output = step.run(ctx)
        self.progress.end()
        done = self._commit(round_, step, fingerprint, made, attempt, output, start)
        shutil.rmtree(journal, ignore_errors=True)
        self._say(done)
        return done

    def _commit(self, round_: int, step: Step, fingerprint: str, made: dict[str, object], attempt: str, output: Output, start: float) -> Entry:
        hashes = {f"{t}/{p}": content_hash(t, rows) for (t, p), rows in output.rows.items()}
        own = output.rows.get((step.table or "", step.part))
        content = str(output.detail.get("digest") or digest(hashes))
        entry = Entry(
            self.spec.experiment, round_, step.name, step.table or "", tuple(sorted(p for _, p in output.rows)), fingerprint, made, content,
            attempt, output.rows_in, own.num_rows if own is not None else 0, "done", time.monotonic() - start, hashes=hashes, detail=output.detail,
        )
        return self._write(entry, output.rows, (step.table or "", step.part))

    def _write(self, entry: Entry, rows: dict[tuple[str, str], pa.Table], last: tuple[str, str]) -> Entry:
        """Commits a step's parts, its own last with the ledger row in the metadata, then the ledger."""
        self.lock.check()
        version = -1
        for table, part in sorted(rows, key=lambda key: key == last):
            new = rows[table, part]
            if TABLES[table].append:
                old = own_columns(self.lake.read(table, experiment=entry.experiment, rounds=[entry.round], part=part))
                new = pa.concat_tables([old, new.select(old.column_names).cast(old.schema)])
            metadata = {ENTRY: entry.text()} if (table, part) == last else {}
            version = self.lake.replace(table, new, experiment=entry.experiment, round=entry.round, part=part, metadata=metadata)
        self._decisions = None
        entry = replace(entry, version=version)
        self.after_commit(entry)
        self.ledger.commit(entry)
        return entry

    def _reuse(self, round_: int, name: str, step: Step, fingerprint: str, made: dict[str, object]) -> Entry | None:
        """Copies a step with the same fingerprint from elsewhere in the lake, if its parts are still what was hashed."""
        start = time.monotonic()
        found = self.ledger.find(name, fingerprint)
        if found is None:
            return None
        rows: dict[tuple[str, str], pa.Table] = {}
        for key, value in found.hashes.items():
            table, _, part = key.partition("/")
            part_rows = own_columns(self.lake.read(table, experiment=found.experiment, rounds=[found.round], part=part))
            if TABLES[table].append:
                part_rows = part_rows.filter(pa.compute.equal(part_rows["attempt"], found.detail.get("attempt", found.attempt)))
            if content_hash(table, part_rows) != value:
                return None
            rows[table, part] = part_rows
        origin = f"{found.experiment}/{found.round}"
        entry = replace(
            found, experiment=self.spec.experiment, round=round_, ingredients=made, attempt=uuid.uuid4().hex[:12], state="reused",
            seconds=time.monotonic() - start, reused_from=origin, at=datetime.now(UTC), version=-1,
            detail={**found.detail, "attempt": found.detail.get("attempt", found.attempt)},
        )
        entry = self._write(entry, rows, (step.table or "", step.part))
        self._say(entry)
        return entry

    def _say(self, entry: Entry) -> None:
        label = "base" if entry.round == BASE else f"{entry.round:03d}"
        counts = f"{entry.rows_in:,} -> {entry.rows_out:,} rows" if entry.table else entry.content_hash
        how = f"reused from {entry.reused_from}" if entry.reused_from else f"{entry.seconds:.1f} s"
        self.progress.note(f"  {label}  {entry.step:<24} {counts:<24} {how}")

    def run(self, first: int | None = None, until: int | None = None) -> list[Done]:
        """Runs rounds to the last one (or `until`), or until the gate holds one under `on_fail: stop` (Stopped).

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
        self.lock.check()
        old = own_columns(self.lake.read("promotions", experiment=self.spec.experiment, rounds=[decision.round], part=decision.role))
        new = pa.Table.from_pylist([decision.row()], schema=TABLES["promotions"].columns)
        rows = pa.concat_tables([old, new])
        self.lake.replace("promotions", rows, experiment=self.spec.experiment, round=decision.round, part=decision.role)
        self._decisions = None


def decisions(lake: Lake, experiment: str) -> list[Decision]:
    """Every row of `promotions` of an experiment."""
    return [Decision.of(row) for row in records(lake.read("promotions", experiment=experiment))]
