"""Sends asks through a backend and keeps every answer on disk as it comes: a killed step goes on with what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine.errors import LakeError, StepError
from engine.generate.asks import Pair, asked, batches, without
from engine.lines import HINT, Lines
from engine.step import Progress
from engine.tables import TABLES

if TYPE_CHECKING:
    from engine.generate import Backend

FILE = "answers.jsonl"


def answers(backend: Backend, asks: pa.Table, *, batch: int, journal: Path, progress: Progress, label: str) -> pa.Table:
    """A row of `generations` for each answer that `asks` (prepared by the backend) asks for, in no particular order.

    A backend that answers by the batch gets about `batch` answers at a time, one that schedules its requests itself gets all of
    them. Answers that the journal has are not asked again. StepError where an answer is lost, invented or doubled.
    """
    schema, wanted = TABLES["generations"].columns, asked(backend.job, asks).pairs
    if not wanted:
        raise StepError(f"{label}: nothing to ask", hint="look at the step before it with `rondo sql`")
    if len(set(wanted)) < len(wanted):
        raise StepError(f"{label}: {len(wanted) - len(set(wanted))} of {len(wanted)} answers are asked twice", where=str(journal))
    left = set(wanted)
    with Lines(journal / FILE) as log:
        # answers that are no longer asked for (another experiment has paid for them since the crash) stay out
        kept = [row for row in log.read() if _pair(row, log.path) in left]
        for row in kept:
            _settle(left, _pair(row, log.path), label)
        found = [_table(kept, schema, log.path)]
        if kept:
            backend.resumed(kept)
        progress.begin(label, len(wanted), done=len(kept), unit="answers")
        for piece in _pieces(backend, without(backend.job, asks, {_pair(row, log.path) for row in kept}), batch):
            for rows in backend.generate(piece):
                for pair in zip(rows.column("prompt_id").to_pylist(), rows.column("sample").to_pylist(), strict=True):
                    _settle(left, pair, label)
                log.append(rows.to_pylist())
                found.append(pa.Table.from_batches([rows]))
                progress.advance(rows.num_rows)
        progress.end()
    if left:
        prompt, sample = min(left)
        text = f"{label}: {len(wanted)} answers asked, {len(left)} never came, such as number {sample} to prompt {prompt}"
        raise StepError(text, where=str(journal), hint="run again: what came is kept")
    return pa.concat_tables(found)


def _pieces(backend: Backend, asks: pa.Table, batch: int) -> Iterator[pa.RecordBatch]:
    """What the backend gets in one call."""
    if not asks.num_rows:
        return
    counts, start = asked(backend.job, asks).counts, 0
    for size in [asks.num_rows] if backend.schedules else batches(counts, batch):
        yield asks.slice(start, size).combine_chunks().to_batches()[0]
        start += size


def _settle(left: set[Pair], pair: Pair, label: str) -> None:
    if pair not in left:
        raise StepError(f"{label}: answer {pair[1]} to prompt {pair[0]!r} came twice, or was not asked for")
    left.remove(pair)


def _pair(row: dict[str, Any], path: Path) -> Pair:
    try:
        return row["prompt_id"], row["sample"]
    except KeyError as error:
        raise LakeError(f"a line of the journal has no {error}", where=str(path), hint=HINT) from error


def _table(rows: list[dict[str, Any]], schema: pa.Schema, path: Path) -> pa.Table:
    try:
        return pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowException, TypeError) as error:
        raise LakeError(f"the journal does not hold answers: {error}", where=str(path), hint=HINT) from error
