"""Operators map batches of rows to batches of rows; an executor drives them, with a journal that survives a crash.

Order, size and number of batches must not matter to an operator. The local executor below appends each finished
batch to a journal below the step's fingerprint; a killed step goes on with the rows that are not in it. A cluster
executor (Ray) would map the same objects.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import LakeError, StepError
from engine.ids import digest
from engine.step import Progress


class Operator(Protocol):
    """Loads what it needs once; maps a batch of rows to a batch of rows."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch: ...


class Journal:
    """Finished batches of one step in one folder: a file a batch, written beside and renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def append(self, name: str, batch: pa.RecordBatch) -> None:
        """Stores a batch durably; a crash leaves it whole or not at all. LakeError where the disk says no."""
        path = self.folder / f"{name}.arrow"
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                with pa.ipc.new_stream(file, batch.schema) as writer:
                    writer.write_batch(batch)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise LakeError(f"cannot write the journal: {error}", where=str(path), hint="free space, then run again") from error

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every finished batch, by name; unfinished files of a killed process are skipped."""
        for path in sorted(self.folder.glob("*.arrow")):
            try:
                with path.open("rb") as file, pa.ipc.open_stream(file) as reader:
                    found = list(reader)
            except (OSError, pa.ArrowException) as error:
                raise LakeError(f"cannot read the journal: {error}", where=str(path), hint="remove this file, then run again") from error
            yield from found


def run(
    make: Callable[[], Operator],
    rows: pa.Table,
    *,
    key: str,
    batch: int | Sequence[int],
    journal: Path,
    progress: Progress,
    label: str,
    per_row: int | Mapping[str, int] = 1,
    order: Sequence[int] | None = None,
) -> pa.Table:
    """All of `rows` through an operator, `batch` rows at a time; returns what it gave, journaled batches included.

    The operator's output repeats column `key` of its input and has exactly `per_row` rows for each input row (a number, or a
    positive one for each key). `batch` may also list the size of each batch, in order. `make` is called only if rows are left
    to do. `order` (a permutation of row numbers) puts like rows into one batch.
    Raises StepError when a row is lost, invented or doubled.
    """
    log, total = Journal(journal), rows.num_rows
    # rows that another experiment has paid for since the crash are no longer asked for: what the journal has of them is left out
    asked = rows[key].combine_chunks()
    done = [b.filter(pc.is_in(b.column(key), value_set=asked)) for b in log.batches()]
    seen = pa.concat_arrays([b.column(key) for b in done]).unique() if done else pa.array([], rows.schema.field(key).type)
    progress.begin(label, total, done=len(seen))
    ordered = rows if order is None else rows.take(pa.array(order, pa.int64()))
    operator = None
    for start, end in _cuts(total, batch):
        piece = ordered.slice(start, end - start)
        if len(seen):
            piece = piece.filter(pc.invert(pc.is_in(piece[key], value_set=seen)))
        if not piece.num_rows:
            continue
        operator = operator or make()
        given = piece.combine_chunks().to_batches()[0]
        result = operator(given)
        _count(label, given, result, key, per_row)
        log.append(f"{start:010d}-{digest(piece[key].to_pylist())}", result)
        done.append(result)
        progress.advance(piece.num_rows)
    progress.end()
    if not done:
        raise StepError(f"{label}: no rows to work on", hint="look at the step before it with `rondo sql`")
    table = pa.Table.from_batches(done)
    expected = total * per_row if isinstance(per_row, int) else sum(per_row[value] for value in rows[key].to_pylist())
    if table.num_rows != expected:
        raise StepError(
            f"{label}: {total} rows in, expected {expected} out, found {table.num_rows}",
            where=str(journal),
            hint="remove this journal folder and run again",
        )
    return table


def _cuts(total: int, batch: int | Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where each batch begins and ends."""
    if isinstance(batch, int):
        return ((start, min(start + batch, total)) for start in range(0, total, batch))
    if sum(batch) != total:
        raise ValueError(f"batches of {sum(batch)} rows for {total}")
    return pairwise(accumulate(batch, initial=0))


def _count(label: str, given: pa.RecordBatch, result: pa.RecordBatch, key: str, per_row: int | Mapping[str, int]) -> None:
    counts = dict.fromkeys(given.column(key).to_pylist(), 0)
    for value in result.column(key).to_pylist():
        if value not in counts:
            raise StepError(f"{label}: the operator gave a row for {key} {value!r}, which is not in its batch")
        counts[value] += 1
    expected = {value: per_row if isinstance(per_row, int) else per_row[value] for value in counts}
    wrong = next((value for value, n in counts.items() if n != expected[value]), None)
    if wrong is not None:
        raise StepError(f"{label}: {key} {wrong!r} has {counts[wrong]} rows out, expected {expected[wrong]}")
