"""What `rondo run` would do: each step of each open round, why, how many rows, and how long by the rates of the past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from engine import specfile
from engine.device import resolve
from engine.experiment import Experiment, key
from engine.generate.cast import cast, share_of
from engine.ledger import DEVICE, OPENING, Entry, Ledger
from engine.rounds import State, Verdict
from engine.spec import Spec
from engine.step import BASE


@dataclass(frozen=True)
class Line:
    """One step of one round. State: done, runs, copies (equal rows lie elsewhere in the lake), waits, closed or stopped."""

    round: int
    step: str
    state: str
    why: str
    rows: int | None = None
    seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"round": key(self.round)}


@dataclass(frozen=True)
class Rate:
    """What a step cost on average: rows out and seconds a run."""

    rows: float
    seconds: float


@dataclass(frozen=True)
class Rates:
    """Rates by (experiment or '' for the whole lake, step, whether in the base round)."""

    known: Mapping[tuple[str, str, bool], Rate]
    experiment: str

    @classmethod
    def of(cls, experiment: Experiment) -> Rates:
        """From the ledger; copied steps say nothing of cost."""
        runs: dict[tuple[str, str, bool], list[dict[str, Any]]] = {}
        for row in experiment.lake.read("steps", columns=["step", "rows_out", "seconds", "state"]).to_pylist():
            if row["state"] == "done":
                for owner in {"", row["experiment"]}:
                    runs.setdefault((owner, row["step"], row["round"] == BASE), []).append(row)
        known = {place: Rate(fmean(r["rows_out"] for r in rows), fmean(r["seconds"] for r in rows)) for place, rows in runs.items()}
        return cls(known, experiment.name)

    def get(self, step: str, base: bool) -> Rate | None:
        """The nearest experience: this experiment before others, the same kind of round before the other."""
        places = ((owner, step, kind) for owner in (self.experiment, "") for kind in (base, not base))
        return next((self.known[place] for place in places if place in self.known), None)

    def seconds(self, step: str, base: bool, rows: int | None) -> float | None:
        """Estimated seconds of a step, by its rows where they are known; None where it never ran."""
        rate = self.get(step, base)
        if rate is None:
            return None
        return rate.seconds * (rows / rate.rows if rows is not None and rate.rows else 1.0)

    def rows(self, step: str, base: bool) -> int | None:
        """Rows that the step usually gave in this experiment."""
        rate = self.known.get((self.experiment, step, base))
        return None if rate is None else round(rate.rows)


def plan(experiment: Experiment, first: int | None = None, until: int | None = None) -> list[Line]:
    """Lines for all rounds, in order; with `first` as if that round were reopened."""
    state = _with_device(experiment.state(), experiment.spec)
    if first is not None:
        state = reopened(state, first)
    rates, ledger = Rates.of(experiment), Ledger(experiment.lake, experiment.name)
    lines: list[Line] = []
    stopped, flat, before = state.stopped(), state.flat(), None
    for round_ in range(BASE, experiment.spec.rounds if until is None else min(until + 1, experiment.spec.rounds)):
        if state.closed(round_):
            drift = [f"{v.step} ({v.why})" for v in state.drift(round_)]
            lines.append(Line(round_, "", "closed", "drift: " + "; ".join(drift) if drift else ""))
        elif stopped is not None:
            lines.append(Line(round_, "", "stopped", f"round {key(stopped.round)} was held: {stopped.reason}"))
        elif flat is not None:
            lines.append(Line(round_, "", "stopped", f"flat since round {key(flat.round)}: {flat.why}"))
        else:
            lines += _round(state, round_, before, rates, ledger)
            before = round_
    return lines


def _round(state: State, round_: int, before: int | None, rates: Rates, ledger: Ledger) -> list[Line]:
    spec, lines = specfile.at(state.spec, round_), []
    if before is None:
        verdicts = state.round_plan(round_)
    else:
        verdicts = [Verdict(round_, step, "waits", f"after round {key(before)}") for step in state.graph(round_).steps]
    for verdict in verdicts:
        if verdict.state == "done":
            lines.append(Line(round_, verdict.step, "done", ""))
            continue
        rows = expected(spec, verdict.step, state.entries)
        base = round_ == BASE
        rows = rates.rows(verdict.step, base) if rows is None else rows
        line = Line(round_, verdict.step, verdict.state, verdict.why, rows, rates.seconds(verdict.step, base, rows))
        found = None
        if verdict.fingerprint and verdict.step not in ("policy", "promotion"):
            found = ledger.find(verdict.step, verdict.fingerprint)
        if found is not None:
            line = replace(line, state="copies", why=f"equal to {found.experiment}/{key(found.round)}", rows=found.rows_out, seconds=0.0)
        lines.append(line)
    return lines


def expected(spec: Spec, step: str, entries: Mapping[tuple[int, str], Entry]) -> int | None:
    """Rows that a step will give, where the spec (and the held-out prompts) fix them; None otherwise.

    Plans, `until` and a ceiling are not followed: they may ask less.
    """
    prompts = spec.prompts.per_round
    if step == "prompts":
        return prompts
    if step == "generations" or step == "score" or step.startswith("scores_"):
        return sum(share_of(how, prompts) * how.samples for how in cast(spec)) if prompts else None
    if step.startswith("eval_"):
        held = entries.get((BASE, "heldout"))
        return held.rows_in * spec.evaluate.samples if held else None
    return None


def reopened(state: State, first: int) -> State:
    """The state as `rondo run --from FIRST` would make it."""
    opening = max((state.opening(r) for r in range(BASE, state.spec.rounds)), default=0) + 1
    blank = Entry("", first, OPENING, "", (), "", {"opening": opening}, "", "", 0, 0, "done", 0.0)
    return replace(state, entries={**state.entries, (first, OPENING): blank})


def _with_device(state: State, spec: Spec) -> State:
    """The state with the device that the first run would find."""
    if (BASE, DEVICE) in state.entries:
        return state
    blank = Entry("", BASE, DEVICE, "", (), "", resolve(spec.compute), "", "", 0, 0, "done", 0.0)
    return replace(state, entries={**state.entries, (BASE, DEVICE): blank})
