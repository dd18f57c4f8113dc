"""What `rondo run` would do: each step of each open round, why, how many rows, and how long by the rates of the past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine import specfile
from engine.device import resolve
from engine.experiment import Experiment, key
from engine.ledger import Entry, Ledger
from engine.rounds import DEVICE, OPENING, State, Verdict
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
class Rates:
    """What steps cost so far: seconds a row and rows out, in this experiment, else anywhere in the lake."""

    own: Mapping[str, tuple[float, float]]
    all: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, experiment: Experiment) -> Rates:
        """From the ledger; copied steps and empty ones say nothing of cost."""
        columns = ["step", "rows_out", "seconds", "state"]
        rows = [r for r in experiment.lake.read("steps", columns=columns).to_pylist() if r["state"] == "done" and r["rows_out"]]
        return cls(_rates([r for r in rows if r["experiment"] == experiment.name]), _rates(rows))

    def seconds(self, step: str, rows: int | None) -> float | None:
        """Estimated seconds of a step; None where it never ran."""
        rate, usual = self.own.get(step) or self.all.get(step) or (None, None)
        return None if rate is None or usual is None else rate * (usual if rows is None else rows)

    def rows(self, step: str) -> int | None:
        """Rows that the step usually gave in this experiment."""
        return round(self.own[step][1]) if step in self.own else None


def _rates(rows: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[int, int, float]] = {}
    for row in rows:
        times, count, spent = found.get(row["step"], (0, 0, 0.0))
        found[row["step"]] = (times + 1, count + row["rows_out"], spent + row["seconds"])
    return {step: (spent / count, count / times) for step, (times, count, spent) in found.items()}


def plan(experiment: Experiment, first: int | None = None, until: int | None = None) -> list[Line]:
    """Lines for all rounds, in order; with `first` as if that round were reopened."""
    state = _with_device(experiment.state(), experiment.spec)
    if first is not None:
        state = reopened(state, first)
    rates, ledger = Rates.of(experiment), Ledger(experiment.lake, experiment.name)
    lines: list[Line] = []
    stopped, before = state.stopped(), None
    for round_ in range(BASE, experiment.spec.rounds if until is None else min(until + 1, experiment.spec.rounds)):
        if state.closed(round_):
            drift = [f"{v.step} ({v.why})" for v in state.drift(round_)]
            lines.append(Line(round_, "", "closed", "drift: " + "; ".join(drift) if drift else ""))
        elif stopped is not None:
            lines.append(Line(round_, "", "stopped", f"round {key(stopped.round)} was held: {stopped.reason}"))
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
        rows = rates.rows(verdict.step) if rows is None else rows
        line = Line(round_, verdict.step, verdict.state, verdict.why, rows, rates.seconds(verdict.step, rows))
        found = None
        if verdict.fingerprint and verdict.step not in ("policy", "promotion"):
            found = ledger.find(verdict.step, verdict.fingerprint)
        if found is not None:
            line = replace(line, state="copies", why=f"equal to {found.experiment}/{key(found.round)}", rows=found.rows_out, seconds=0.0)
        lines.append(line)
    return lines


def expected(spec: Spec, step: str, entries: Mapping[tuple[int, str], Entry]) -> int | None:
    """Rows that a step will give, where the spec (and the held-out prompts) fix them; None otherwise."""
    prompts = spec.prompts.per_round
    if step == "prompts":
        return prompts
    if step == "generations" or step == "score" or step.startswith("scores_"):
        return prompts * spec.generate.samples if prompts else None
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
