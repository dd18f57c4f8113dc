"""Commits of steps: parts first, the step's own last with the ledger row in its metadata, the ledger after it; and copies."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.ids import digest
from engine.lake import Lake
from engine.ledger import ENTRY, Entry, Ledger
from engine.locks import Lock
from engine.rows import content_hash, own_columns, unpaid
from engine.step import Output, Step
from engine.tables import TABLES

Parts = dict[tuple[str, str], pa.Table]


class Commits:
    """Writes what the steps of one experiment made, while its lock is held."""

    def __init__(self, ledger: Ledger, lock: Lock, after: Callable[[Entry], None]) -> None:
        self.lake: Lake = ledger.lake
        self.ledger, self.lock, self.after = ledger, lock, after
        self.experiment = ledger.experiment

    def fact(self, round_: int, step: str, ingredients: dict[str, Any], detail: dict[str, Any]) -> None:
        """A ledger row that no table stands behind: an opening, the device."""
        self.lock.check()
        made = digest(ingredients)
        self.ledger.commit(
            Entry(self.experiment, round_, step, "", (), made, ingredients, made, _attempt(), 0, 0, "done", 0.0, detail=detail)
        )

    def result(
        self, round_: int, step: Step, fingerprint: str, made: dict[str, Any], attempt: str, output: Output, seconds: float
    ) -> Entry:
        """What a step has just made."""
        hashes = {f"{table}/{part}": content_hash(table, rows) for (table, part), rows in output.rows.items()}
        own = output.rows.get((step.table or "", step.part))
        entry = Entry(
            experiment=self.experiment,
            round=round_,
            step=step.name,
            table=step.table or "",
            parts=tuple(sorted(part for _, part in output.rows)),
            fingerprint=fingerprint,
            ingredients=made,
            content_hash=str(output.detail.get("digest") or digest(hashes)),
            attempt=attempt,
            rows_in=output.rows_in,
            rows_out=own.num_rows if own is not None else 0,
            state="done",
            seconds=seconds,
            hashes=hashes,
            detail=output.detail,
        )
        return self._write(entry, output.rows, step)

    def copy(self, round_: int, step: Step, fingerprint: str, made: dict[str, Any]) -> Entry | None:
        """A step with the same fingerprint from elsewhere in the lake; None where there is none.

        Its parts must still be what was hashed: another driver may be rewriting them just now.
        """
        start = time.monotonic()
        found = self.ledger.find(step.name, fingerprint)
        if found is None:
            return None
        rows: Parts = {}
        first = found.detail.get("attempt", found.attempt)  # of the step that made the rows, through copies of copies
        for key, value in found.hashes.items():
            table, _, part = key.partition("/")
            kept = own_columns(self.lake.read(table, experiment=found.experiment, rounds=[found.round], part=part))
            if TABLES[table].append:
                kept = kept.filter(pc.equal(kept["attempt"], first))
            if content_hash(table, kept) != value:
                return None
            rows[table, part] = unpaid(table, kept)
        entry = replace(
            found,
            experiment=self.experiment,
            round=round_,
            ingredients=made,
            attempt=_attempt(),
            state="reused",
            seconds=time.monotonic() - start,
            reused_from=f"{found.experiment}/{found.round}",
            at=datetime.now(UTC),
            version=-1,
            detail={**found.detail, "attempt": first},
        )
        return self._write(entry, rows, step)

    def append(self, table: str, rows: pa.Table, round_: int, part: str, metadata: dict[str, str] | None = None) -> int:
        """Adds rows to a part of an append-only table; returns a version that shows them."""
        self.lock.check()
        old = own_columns(self.lake.read(table, experiment=self.experiment, rounds=[round_], part=part))
        whole = pa.concat_tables([old, rows.select(old.column_names).cast(old.schema)])
        return self.lake.replace(table, whole, experiment=self.experiment, round=round_, part=part, metadata=metadata)

    def _write(self, entry: Entry, rows: Parts, step: Step) -> Entry:
        self.lock.check()
        own, version = (step.table or "", step.part), -1
        for table, part in sorted(rows, key=lambda key: key == own):
            metadata = {ENTRY: entry.text()} if (table, part) == own else {}
            if TABLES[table].append:
                version = self.append(table, rows[table, part], entry.round, part, metadata)
            else:
                version = self.lake.replace(
                    table, rows[table, part], experiment=self.experiment, round=entry.round, part=part, metadata=metadata
                )
        entry = replace(entry, version=version)
        self.after(entry)
        self.ledger.commit(entry)
        return entry


def _attempt() -> str:
    return uuid.uuid4().hex[:12]
