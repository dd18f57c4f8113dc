"""One experiment as an object: load its spec, run it, ask it, decide on it. The command line and the assets are thin over this."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from engine import specfile
from engine.errors import RondoError, SpecError
from engine.home import Home
from engine.lake import Lake
from engine.ledger import DEVICE, OPENING, Ledger
from engine.promotion import Decision, person
from engine.registry import nearest
from engine.rounds import State
from engine.rows import own_columns, unpaid
from engine.run import Done, Driver, decisions
from engine.spec import SLUG, Spec
from engine.step import BASE, Progress
from engine.tables import TABLES

if TYPE_CHECKING:
    import duckdb

    from engine.query import Session


def key(round_: int) -> str:
    """A round's name: base, 000, 001, ..."""
    return "base" if round_ == BASE else f"{round_:03d}"


def parse_round(text: str) -> int:
    """'base' or a number. SpecError for anything else."""
    if text == "base":
        return BASE
    if not text.isdigit():
        raise SpecError(f"{text!r} is not a round; expected base, 0, 1, ...", where="command line")
    return int(text)


class Experiment:
    """A spec with its rounds, tables and checkpoints. Use `Experiment.load`."""

    def __init__(self, spec: Spec, path: Path, home: Home) -> None:
        self.spec, self.path, self.home = spec, path, home
        self.lake = Lake(home.lake)
        self.name: str = spec.experiment

    @classmethod
    def load(cls, name: str | Path, overrides: Sequence[str] = (), home: Home | str | Path | None = None) -> Experiment:
        """From a YAML path, or the name of an experiment in the home. SpecError with the place of every mistake."""
        home = home if isinstance(home, Home) else Home.find(home)
        path = find(str(name), home)
        return cls(specfile.load(path, overrides), path, home)

    def driver(self, progress: Progress | None = None, wait: float = 0.0) -> Driver:
        """A driver of this experiment (a context manager that holds its lock)."""
        return Driver(self.spec, self.path, self.home, progress, wait, self.lake)

    def run(self, first: int | None = None, until: int | None = None, progress: Progress | None = None) -> list[Done]:
        """Runs to the last round; `first` reopens that round and later ones. Stopped when the gate asks for a person."""
        with self.driver(progress) as driver:
            return driver.run(first, until)

    def state(self) -> State:
        """What the lake says of this experiment now."""
        return State(self.spec, self.path, Ledger(self.lake, self.name).entries, decisions(self.lake, self.name))

    def session(self, round_: int | None = None, versions: dict[str, int] | None = None) -> Session:
        """DuckDB over a round of this experiment (the latest by default), its history and the lake."""
        from engine.query import Session, Window

        if round_ is None:
            round_ = max((r for r, step in Ledger(self.lake, self.name).entries if step not in (OPENING, DEVICE)), default=BASE)
        window = Window(self.name, round_, versions)
        return Session(self.lake, window, memory_limit=self.spec.compute.memory_limit, spill=self.home.journal / "spill")

    def sql(self, query: str, round_: int | None = None, **params: Any) -> duckdb.DuckDBPyRelation:
        """A query over a round of this experiment; `.pl()`, `.df()` or `.fetchall()` the result."""
        return self.session(round_).run(query, params)

    def checkpoint(self, round_: int, role: str = "policy") -> Checkpoint:
        """The checkpoint that a round trained."""
        rows = self.lake.read("checkpoints", experiment=self.name, rounds=[round_], part=role).to_pylist()
        if not rows:
            raise RondoError(f"{self.name} has no {role} checkpoint of round {key(round_)}", hint=f"`rondo status {self.name}`")
        return Checkpoint(self, max(rows, key=lambda row: row["at"]))

    def promote(self, round_: int, reason: str, by: str) -> Decision:
        """Makes a held checkpoint the policy from the next unopened round on."""
        with self.driver() as driver:
            state = driver.state()
            if not state.closed(round_):
                raise RondoError(f"round {key(round_)} of {self.name} has no decision yet", hint=f"`rondo run {self.name}` first")
            digest = self.checkpoint(round_).digest
            effective = max(state.unopened(), round_ + 1)
            decision = person(list(state.rows), round_, state.opening(round_), "forced", digest, effective, reason, by)
            driver.decide(decision)
            return decision

    def rollback(self, to: int | None, reason: str, by: str) -> Decision:
        """Makes the checkpoint of round `to` (default: the one promoted before the current) the policy again."""
        with self.driver() as driver:
            state = driver.state()
            effective = [d for d in state.decisions() if d.decision in ("promoted", "forced")]
            current = state.policy(state.unopened())
            choices = [d for d in effective if (d.digest != current if to is None else d.round == to)]
            if not choices:
                raise RondoError(
                    f"{self.name}: nothing to roll back to" + ("" if to is None else f" at round {key(to)}"),
                    hint=f"promoted rounds: {', '.join(key(d.round) for d in effective) or 'none'}",
                )
            last = max(d.round for d in state.decisions())
            decision = person(list(state.rows), last, state.opening(last), "rolled_back", choices[-1].digest, state.unopened(), reason, by)
            driver.decide(decision)
            return decision

    def fork(self, round_: int, name: str) -> Experiment:
        """Copies the rounds up to `round_` under a new name, whose spec extends this one; `run` goes on after them."""
        state = self.state()
        if not state.closed(round_):
            raise RondoError(
                f"round {key(round_)} of {self.name} is not closed, so it cannot be forked", hint=f"`rondo run {self.name}` first"
            )
        if not SLUG.fullmatch(name):
            raise SpecError(f"{name!r} is no name: expected 1-63 of a-z, 0-9, '-', '_', the first a letter or digit", where="command line")
        if Ledger(self.lake, name).entries:
            raise RondoError(f"{name} already has rounds in the lake", hint="choose another name")
        path = self.path.parent / f"{name}.yaml"
        text = yaml.safe_dump(
            {"experiment": name, "extends": self.path.name, "description": f"fork of {self.name}@{round_}"}, sort_keys=False
        )
        if path.exists() and path.read_text() != text:
            raise SpecError("the file exists", where=str(path), hint="choose another name")
        path.write_text(text)
        forked = Experiment.load(path, home=self.home)
        with ExitStack() as stack:
            stack.enter_context(self.driver())
            driver = stack.enter_context(forked.driver())
            if driver.ledger.entries:
                raise RondoError(f"{name} already has rounds in the lake", hint="choose another name")
            for table in TABLES:
                if table != "steps":
                    self._copy(table, round_, forked)
            for entry in sorted(state.entries.values(), key=lambda e: e.at):
                if entry.round <= round_:
                    driver.ledger.commit(replace(entry, experiment=name, reused_from=f"{self.name}/{entry.round}", at=datetime.now(UTC)))
        return forked

    def _copy(self, table: str, last: int, forked: Experiment) -> None:
        files = self.lake.files(table, experiment=self.name, rounds=range(BASE, last + 1))
        for round_, part in sorted({(f.round, f.part) for f in files}):
            rows = own_columns(self.lake.read(table, experiment=self.name, rounds=[round_], part=part))
            self.lake.replace(table, unpaid(table, rows), experiment=forked.name, round=round_, part=part)


class Checkpoint:
    """A row of `checkpoints`, with its lineage."""

    def __init__(self, experiment: Experiment, row: dict[str, Any]) -> None:
        self.experiment, self.row = experiment, row
        self.digest: str = row["digest"]

    @property
    def path(self) -> Path:
        """The model's folder."""
        from engine.train.checkpoint import locate

        return locate(self.experiment.home, self.row["path"])

    def lineage(self) -> duckdb.DuckDBPyRelation:
        """One row for each row that trained it: score, policy that wrote it, prompt."""
        query = "select * from lake.lineage where experiment = $experiment and round = $round and digest = $digest"
        params = {"experiment": self.experiment.name, "round": self.row["round"], "digest": self.digest}
        return self.experiment.session(self.row["round"]).run(query, params)


def find(name: str, home: Home) -> Path:
    """The YAML of an experiment: a path, or a name in <home>/experiments. SpecError with the nearest name."""
    for path in (Path(name), home.experiments / f"{name}.yaml"):
        if path.is_file():
            return path.absolute()
    known = {path.stem: path for path in sorted(home.experiments.glob("*.yaml"))} if home.experiments.is_dir() else {}
    if not known:
        raise SpecError(f"no experiment {name!r}: {home.experiments} has no YAML", hint="`rondo init quickstart`, or give a path to a YAML")
    raise SpecError(f"no experiment or file {name!r} in {home.experiments}", hint=nearest(name, list(known)))
