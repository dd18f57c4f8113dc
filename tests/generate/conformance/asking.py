"""Asks a backend, with and without the driver that keeps a journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import tables
from engine.generate import Backend, drive
from engine.generate.asks import asked, batches
from generate.conformance.rigs import BATCH, Rig, Row
from generate_tiny import Notes

MEASURED = tables.TABLES["generations"].measured


def answered(backend: Backend, asks: pa.Table, batch: int = BATCH) -> list[Row]:
    """The rows that a backend gives, by prompt and number, as its own contract says: a batch at a time, or all at once."""
    ready = backend.prepare(asks)
    counts, found, start = asked(backend.job, ready).counts, list[pa.RecordBatch](), 0
    for size in [ready.num_rows] if backend.schedules else batches(counts, batch):
        found += backend.generate(ready.slice(start, size).combine_chunks().to_batches()[0])
        start += size
    return by_pair(pa.Table.from_batches(found).to_pylist())


def driven(backend: Backend, asks: pa.Table, journal: Path, batch: int = BATCH) -> list[Row]:
    """The same through the driver."""
    found = drive.answers(backend, backend.prepare(asks), batch=batch, journal=journal, progress=Notes(), label="conformance")
    return by_pair(found.to_pylist())


def once(rig: Rig, asks: pa.Table | None = None, **how: Any) -> list[Row]:
    """The rows of a backend that is opened for them alone."""
    with rig.opened(**how) as backend:
        return answered(backend, rig.asks() if asks is None else asks, how.get("batch", BATCH))


def by_pair(rows: list[Row]) -> list[Row]:
    """Rows by prompt, then by number."""
    return sorted(rows, key=lambda row: (row["prompt_id"], row["sample"]))


def plain(rows: list[Row]) -> list[Row]:
    """Rows without what is measured."""
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in rows]


def texts(rows: list[Row]) -> list[str]:
    """The answers."""
    return [row["response"] for row in rows]


def count(backend: Backend) -> list[list[tuple[str, int]]]:
    """From now on, what each call of the backend is asked."""
    generate, calls = backend.generate, list[list[tuple[str, int]]]()

    def counted(asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        calls.append(asked(backend.job, asks).pairs)
        yield from generate(asks)

    backend.generate = counted  # type: ignore[method-assign]
    return calls
