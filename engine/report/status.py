"""Where an experiment stands: a row a round, its state, its drift, and what to do next."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RondoError
from engine.experiment import Experiment, key
from engine.home import Home
from engine.lake import Lake
from engine.ledger import OPENING
from engine.locks import Lock
from engine.promotion.stop import Flat
from engine.query import Session, Window
from engine.report import known
from engine.rounds import State
from engine.step import BASE

COLUMNS = (
    "round",
    "prompts",
    "answers",
    "pass_rate",
    "kept",
    "trained",
    "metric",
    "gate",
    "test",
    "test_stderr",
    "decision",
    "reason",
    "policy_in",
    "policy_out",
    "seconds",
)


@dataclass(frozen=True)
class Status:
    """An experiment at one moment. `rounds` are rows of the view `rounds`.

    `state`: new, open, running, stopped (by the gate), or done (all rounds, or the learning curve is flat).
    """

    experiment: str
    description: str
    path: str
    state: str
    planned: int
    rounds: list[dict[str, Any]]
    advice: list[str]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(self.__dict__)


def status(experiment: Experiment, state: State | None = None) -> Status:
    """The status of one experiment (whose `state` may be known already); reads the lake, writes nothing."""
    state, name = state or experiment.state(), experiment.name
    query = "select * from lake.rounds where experiment = $experiment order by round"
    session = Session(experiment.lake, Window(), memory_limit=experiment.spec.compute.memory_limit)
    rows = {row["round"]: row for row in session.table(query, {"experiment": name}).to_pylist()}
    opened = sorted({r for (r, step) in state.entries if step == OPENING} | set(rows))
    found = []
    for round_ in opened:
        row = {column: rows.get(round_, {}).get(column) for column in COLUMNS}
        drift, trouble = _drift(state, round_)
        found.append(row | {"round": key(round_), "state": _state(state, round_), "drift": drift, "trouble": trouble})
    now = _whole(state, experiment.home, name)
    advice = _advice(state, name, now, found)
    return Status(name, experiment.spec.description, str(experiment.path), now, experiment.spec.rounds, found, advice)


def _drift(state: State, round_: int) -> tuple[list[str], str | None]:
    """Steps of a closed round that the spec would now make otherwise; what hinders telling, if something does."""
    try:
        return [f"{v.step}: {v.why}" for v in state.drift(round_)], None
    except RondoError as error:
        return [], str(error)


def _state(state: State, round_: int) -> str:
    held = state.stopped()
    if held is not None and held.round == round_:
        return "stopped"
    if not state.closed(round_):
        return "open"
    last = [d for d in state.decisions() if d.round == round_ and d.role == "policy"]
    return "held" if last and last[-1].decision == "held" else "closed"


def _whole(state: State, home: Home, name: str) -> str:
    if driven(home, name):
        return "running"
    if state.stopped() is not None:
        return "stopped"
    if state.next_round() is None:
        return "done"
    return "open" if any(step == OPENING for _, step in state.entries) else "new"


def driven(home: Home, name: str) -> bool:
    """Whether a process holds the experiment's lock, as the kernel lists it (no lock is taken, so no driver is hindered)."""
    path = Lock(home.locks, name, "").path
    try:
        listed, found = Path("/proc/locks").read_text(), path.stat()
    except OSError:
        return False
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return any(re.match(rf"\d+: FLOCK .* {place} ", line) for line in listed.splitlines())


def _advice(state: State, name: str, now: str, rounds: list[dict[str, Any]]) -> list[str]:
    """What a person can do next, as commands."""
    lines = []
    held, following = state.stopped(), state.next_round()
    if held is not None:
        lines.append(f"round {key(held.round)} was held at the gate: {held.reason}")
        lines.append(f"rondo promote {name}@{key(held.round)} --force --reason '...'   take it all the same")
        lines.append(f"rondo rollback {name} --reason '...'   go on from an earlier checkpoint")
        lines.append(f"rondo run {name} --from {key(held.round)}   after a change of the spec")
    elif following is not None and now != "running":
        lines.append(f"rondo run {name}   goes on with round {key(following)}")
    flat = state.flat()
    if flat is not None:
        lines.append(ended(flat))
        lines.append(flat.hint(name))
    drifted = [row["round"] for row in rounds if row["drift"]]
    if drifted:
        lines.append(f"round {drifted[0]} ran with other settings or files than the spec now has; closed rounds stay as they are")
        lines.append(f"rondo run {name} --from {drifted[0]}   makes the rounds from there again; `rondo fork` first keeps both")
    for row in rounds:
        if row["trouble"]:
            lines.append(f"round {row['round']}: drift cannot be told: {row['trouble']}")
    return lines


def ended(flat: Flat) -> str:
    """Why the stop rule ended an experiment, in one line."""
    return f"the learning curve has flattened at round {key(flat.round)}: {flat.why}"


def every(home: Home) -> list[dict[str, Any]]:
    """One row for each experiment of the home; one that cannot be read says why in `note`."""
    rows = []
    table = Session(Lake(home.lake), Window()).table("select * from lake.rounds order by experiment, round").to_pylist()
    for name in known.names(home):
        own = [row for row in table if row["experiment"] == name]
        scores = [(row["test"], row["test_stderr"]) for row in own if row["test"] is not None]
        row: dict[str, Any] = {
            "experiment": name,
            "state": "",
            "rounds": sum(1 for r in own if r["round"] != BASE and r["decision"]),
            "planned": None,
            "base": scores[0][0] if scores else None,
            "test": scores[-1][0] if scores else None,
            "test_stderr": scores[-1][1] if scores else None,
            "seconds": sum(r["seconds"] or 0 for r in own),
            "note": "",
        }
        try:
            experiment = known.load(name, home, recorded=True)
            row |= {"planned": experiment.spec.rounds, "state": _whole(experiment.state(), home, name), "note": experiment.spec.description}
        except RondoError as error:
            row |= {"state": "broken", "note": str(error).splitlines()[0]}
        rows.append(row)
    return rows
