"""Commands of the loop: plan, run, status, promote, rollback, fork."""

from __future__ import annotations

import getpass
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from engine.commands import HomeOption, JsonOption, Reason, emit, home_of, out, say

if TYPE_CHECKING:
    from engine.errors import Stopped
    from engine.experiment import Experiment
    from engine.ledger import Entry
    from engine.promotion import Decision
    from engine.rounds import State

Name = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Name in the home, or path of a YAML.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY.SUB=VALUE]...", help="Settings that replace those of the YAML.")]
From = Annotated[str | None, typer.Option("--from", metavar="ROUND", help="Reopen this round (base, 0, 1, ...) and all later ones.")]
Until = Annotated[str | None, typer.Option("--until", metavar="ROUND", help="Last round to look at.")]


def plan(
    experiment: Name,
    overrides: Overrides = None,
    first: From = None,
    until: Until = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show what `run` would do, and why.

    Each step with its reason, its rows, and how long it will take by the rates of the past.
    """
    from engine.experiment import parse_round
    from engine.report import known, text
    from engine.report.plan import plan as make

    found = known.load(experiment, home_of(home), overrides or [])
    lines = make(found, *(None if one is None else parse_round(one) for one in (first, until)))
    emit([line.as_json() for line in lines]) if json else text.plan(out(), found.name, lines)


def run(
    experiment: Name,
    overrides: Overrides = None,
    first: From = None,
    until: Until = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Run an experiment, or go on with it.

    To the last round, until the learning curve is flat (`stop`), or until the gate asks for a person (exit 3). After a crash it
    goes on where it was.
    """
    from engine.errors import RondoError, SpecError
    from engine.experiment import parse_round
    from engine.report import known

    start, last = (None if one is None else parse_round(one) for one in (first, until))
    found = known.load(experiment, home_of(home), overrides or [])
    for option, round_ in (("--from", start), ("--until", last)):
        if round_ is not None and round_ >= found.spec.rounds:
            raise SpecError(f"{option} {round_}: {found.name} has the rounds base and 0 to {found.spec.rounds - 1}", hint="raise `rounds`")
    struck = Event()
    try:
        with _interrupts(struck):
            entries, state, stopped = _drive(found, start, last)
    except (KeyboardInterrupt, ImportError, SystemError, RuntimeError, RondoError):
        if not struck.is_set():
            raise
        say(f"\ninterrupted; `rondo run {experiment}` goes on where it was")
        raise typer.Exit(130) from None
    finally:
        _tell_dagster(found)
    _after(found, state, entries, stopped, json)
    if stopped is not None:
        raise stopped


@contextmanager
def _interrupts(struck: Event) -> Iterator[None]:
    """Sets `struck` when Ctrl-C comes: DuckDB makes a RuntimeError of it, a module that is being loaded an ImportError."""

    def strike(number: int, frame: FrameType | None) -> None:
        struck.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, strike)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _drive(found: Experiment, start: int | None, last: int | None) -> tuple[list[Entry], State, Stopped | None]:
    """Runs; what was committed, how things stand then, and why the gate stopped it if it did."""
    from engine.errors import Stopped
    from engine.progress import Terminal

    entries: list[Entry] = []
    with found.driver(Terminal()) as driver:
        stopped = None
        driver.after_commit = entries.append
        try:
            driver.run(start, last)
        except Stopped as error:
            stopped = error
        return entries, driver.state(), stopped


def _tell_dagster(found: Experiment) -> None:
    """Reports the rounds to the home's Dagster instance, where `rondo ui` has made one."""
    if (found.home.dagster / "dagster.yaml").is_file():
        from assets.reconcile import reconcile

        reconcile(found)


def _after(found: Experiment, state: State, entries: list[Entry], stopped: Stopped | None, json: bool) -> None:
    from engine.experiment import key
    from engine.report import text
    from engine.report.status import ended
    from engine.report.status import status as look

    report, flat = look(found, state), state.flat()
    if json:
        kept = ("step", "state", "rows_in", "rows_out", "seconds", "reused_from")
        steps = [{"round": key(entry.round)} | {name: getattr(entry, name) for name in kept} for entry in entries]
        ends = {"stopped": None if stopped is None else str(stopped), "flat": None if flat is None else flat.why}
        emit(report.as_json() | {"steps": steps} | ends)
        return
    text.status(out(), report, short=True)
    copied = sum(entry.state == "reused" for entry in entries)
    if entries:
        say(f"{len(entries)} steps ran" + (f", {copied} of them copied from equal ones" if copied else ""))
    elif stopped is None:
        say("nothing to do: every round is as the ledger has it")
    if flat is not None:
        say(ended(flat))
        say(f"  next: {flat.hint(found.name)}")
    text.commands(out(), found, report)


def status(
    experiment: Annotated[str | None, typer.Argument(metavar="[EXPERIMENT]", help="One experiment; none: all of the home.")] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show a row a round, or all experiments.

    Prompts, pass rate, kept, scores, decision, policy in and out, drift, state, time, and what to do next.
    """
    from engine.report import known, text
    from engine.report import status as reports

    place = home_of(home)
    if experiment is None:
        rows = reports.every(place)
        emit(rows) if json else text.experiments(out(), place, rows)
        return
    report = reports.status(known.load(experiment, place, recorded=True))
    emit(report.as_json()) if json else text.status(out(), report)


def promote(
    checkpoint: Annotated[str, typer.Argument(metavar="EXPERIMENT@ROUND", help="The round whose checkpoint becomes the policy.")],
    reason: Reason,
    force: Annotated[bool, typer.Option("--force", help="Take it although the gate held it.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Override the gate: make a checkpoint the policy.

    It counts from the next unopened round on.
    """
    from engine.errors import SpecError
    from engine.report import known

    name, round_ = known.need(checkpoint)
    if not force:
        raise SpecError("the gate promotes by itself; a person who overrides it says so", where="command line", hint="add --force")
    _decided(name, known.load(name, home_of(home)).promote(round_, reason, getpass.getuser()), json)


def rollback(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT[@ROUND]", help="Whose checkpoint; none: the one before.")],
    reason: Reason,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Make an earlier checkpoint the policy again.

    It counts from the next unopened round on; round numbers never repeat.
    """
    from engine.report import known

    name, round_ = known.split(experiment)
    _decided(name, known.load(name, home_of(home)).rollback(round_, reason, getpass.getuser()), json)


def _decided(name: str, decision: Decision, json: bool) -> None:
    from engine.experiment import key

    if json:
        emit({"experiment": name, "round": key(decision.round)} | decision.row())
        return
    say(f"{name}: {decision.decision}: {decision.digest} is the policy from round {key(decision.effective_round)} on ({decision.reason})")
    say(f"next: rondo run {name}")


def fork(
    checkpoint: Annotated[str, typer.Argument(metavar="EXPERIMENT@ROUND", help="The last round to take along.")],
    name: Annotated[str, typer.Argument(help="Name of the new experiment.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Copy rounds under a new name, to go another way.

    The new YAML extends the old one: change it, then run it.
    """
    from engine.report import known

    old, round_ = known.need(checkpoint)
    forked = known.load(old, home_of(home)).fork(round_, name)
    if json:
        emit({"experiment": name, "path": forked.path, "from": checkpoint})
        return
    say(f"{name}: a copy of {old} up to round {checkpoint[len(old) + 1 :]}")
    say(f"next: change {forked.path}, then rondo run {name}")
