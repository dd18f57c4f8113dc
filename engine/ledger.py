"""The ledger: which step of which round is done, from what, with which content. Table `steps`, one row a step.

A step's data commit carries its ledger row in the commit's metadata; a crash between the two commits is repaired from it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from engine.ids import canonical
from engine.lake import Lake
from engine.rows import records
from engine.tables import TABLES

OPENING, DEVICE = "opening", "device"  # facts in the ledger that are no steps
ENTRY = "rondo"  # key of the ledger row in a data commit's metadata


@dataclass(frozen=True)
class Entry:
    """One row of `steps`. `hashes` holds the content hash of each 'table/part' the step wrote."""

    experiment: str
    round: int
    step: str
    table: str
    parts: tuple[str, ...]
    fingerprint: str
    ingredients: dict[str, Any]
    content_hash: str
    attempt: str
    rows_in: int
    rows_out: int
    state: str
    seconds: float
    version: int = -1
    reused_from: str | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def row(self) -> dict[str, Any]:
        """As a row of `steps`, without partition columns."""
        row = {k: v for k, v in asdict(self).items() if k not in ("experiment", "round", "hashes")}
        detail = {**self.detail, "hashes": self.hashes}
        return row | {"parts": list(self.parts), "ingredients": canonical(self.ingredients), "detail": canonical(detail)}

    def text(self) -> str:
        """JSON for a commit's metadata."""
        return canonical(asdict(self) | {"at": self.at.isoformat()})

    @classmethod
    def of(cls, row: dict[str, Any]) -> Entry:
        """From a row of `steps` (partition columns included) or from `text()`."""
        values = {f.name: row[f.name] for f in fields(cls) if f.name in row}
        for name in ("ingredients", "detail"):
            if isinstance(values[name], str):
                values[name] = json.loads(values[name])
        values["hashes"] = row["hashes"] if "hashes" in row else values["detail"].pop("hashes", {})
        at = values["at"]
        return cls(**values | {"parts": tuple(values["parts"]), "at": datetime.fromisoformat(at) if isinstance(at, str) else at})


class Ledger:
    """The entries of one experiment, kept in memory while it is driven."""

    def __init__(self, lake: Lake, experiment: str) -> None:
        self.lake, self.experiment = lake, experiment
        self.entries: dict[tuple[int, str], Entry] = {}
        self.reload()

    def reload(self) -> None:
        """Reads the entries as they are in the lake."""
        rows = records(self.lake.read("steps", experiment=self.experiment))
        self.entries = {(row["round"], row["step"]): Entry.of(row) for row in rows}

    def get(self, round_: int, step: str) -> Entry | None:
        """The entry of one step, if it was ever done."""
        return self.entries.get((round_, step))

    def commit(self, entry: Entry) -> None:
        """Writes one entry in place of the step's old one."""
        rows = pa.Table.from_pylist([entry.row()], schema=TABLES["steps"].columns)
        self.lake.replace("steps", rows, experiment=self.experiment, round=entry.round, part=entry.step)
        self.entries[entry.round, entry.step] = entry

    def find(self, step: str, fingerprint: str) -> Entry | None:
        """A done step anywhere in the lake with this fingerprint (the oldest, so that copies have one source).

        Only files whose statistics admit the fingerprint are opened: a lake holds one file a step.
        """
        found = []
        for file in self.lake.files("steps", part=step, equal=("fingerprint", fingerprint)):
            for row in records(self.lake.read("steps", experiment=file.experiment, rounds=[file.round], part=step)):
                entry = Entry.of(row)
                if entry.fingerprint == fingerprint:
                    found.append(entry)
        return min(found, key=lambda e: e.at, default=None)

    def repair(self) -> list[Entry]:
        """Writes the entries that a crash lost: data was committed (its metadata says so), the ledger row was not."""
        # an opening is written after a repair, so nothing older than the newest one can be lost
        openings = [entry for (_, step), entry in self.entries.items() if step == OPENING]
        newest = max(openings, key=lambda e: e.at, default=None)
        last = dict.fromkeys(TABLES, -1) | (newest.detail.get("versions", {}) if newest else {})
        for entry in self.entries.values():
            if entry.table in last:
                last[entry.table] = max(last[entry.table], entry.version)
        known = {entry.attempt for entry in self.entries.values()}
        lost = []
        for name, since in last.items():
            if name == "steps":
                continue
            for commit in self.lake.commits(name, since):
                if ENTRY not in commit:
                    continue
                entry = Entry.of(json.loads(commit[ENTRY]))
                if entry.experiment == self.experiment and entry.attempt not in known:
                    lost.append(replace(entry, version=commit["version"]))
        for entry in sorted(lost, key=lambda e: e.at):
            present = self.get(entry.round, entry.step)
            if present is None or present.at < entry.at:
                self.commit(entry)
        return lost
