"""Rows as Arrow tables: content hashes, plain records, and the partition columns put on and taken off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.tables import PARTITION, TABLES, check

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def content_hash(name: str, rows: pa.Table) -> str:
    """16 hex digits over the rows' content: order does not matter, measured and partition columns are left out.

    The sum (mod 2^128) of each row's BLAKE2b over its canonical JSON, so equal rows count as often as they stand.
    """
    from hashlib import blake2b

    import polars as pl

    table = TABLES[name]
    frame = pl.from_arrow(check(name, rows).select([c for c in table.columns.names if c not in table.measured]))
    assert isinstance(frame, pl.DataFrame)
    total = 0
    for line in frame.write_ndjson().encode().splitlines():
        total += int.from_bytes(blake2b(line, digest_size=16).digest(), "little")
    return blake2b(f"{name}:{rows.num_rows}:{total % 2**128}".encode(), digest_size=8).hexdigest()


def unpaid(name: str, rows: pa.Table) -> pa.Table:
    """Answers, scores or comparisons that are taken from elsewhere: 0 seconds and no tokens, so that sums count what was spent once.

    The tokens of answers stay: they say how long an answer is. The view `spend` knows from the ledger which answers are copies.
    """
    judged = {"seconds": 0.0, "prompt_tokens": None, "response_tokens": None}
    costs: dict[str, dict[str, float | None]] = {"generations": {"seconds": 0.0}, "scores": judged, "preferences": judged}
    for column, nothing in costs.get(name, {}).items():
        if column in rows.column_names:
            kind = rows.schema.field(column).type
            rows = rows.set_column(rows.column_names.index(column), column, pa.repeat(pa.scalar(nothing, kind), rows.num_rows))
    return rows


def records(rows: pa.Table) -> list[dict[str, Any]]:
    """Rows as dicts, times as UTC datetimes. As `to_pylist`, which imports pandas for times with a zone: a fifth of a second."""
    times = [field.name for field in rows.schema if pa.types.is_timestamp(field.type)]
    for name in times:
        rows = rows.set_column(rows.schema.get_field_index(name), name, rows[name].cast(pa.timestamp("us")).cast(pa.int64()))
    found = rows.to_pylist()
    for row in found:
        row.update({name: EPOCH + timedelta(microseconds=row[name]) for name in times if row[name] is not None})
    return found


def own_columns(rows: pa.Table) -> pa.Table:
    """`rows` without the partition columns."""
    return rows.drop_columns([c for c in PARTITION.names if c in rows.column_names])


def only(rows: pa.Table, **equal: Any) -> pa.Table:
    """The rows whose columns equal the given values."""
    for column, value in equal.items():
        rows = rows.filter(pc.equal(rows[column], pa.scalar(value, rows.schema.field(column).type)))
    return rows


def constant(value: str | int, n: int) -> pa.Array:
    """`n` times a string or an int32, from buffers: `pa.repeat`, `pa.scalar` and `pa.array` import pandas, a third of a second."""
    import numpy as np

    if isinstance(value, int):
        return pa.Array.from_buffers(pa.int32(), n, [None, pa.py_buffer(np.full(n, value, np.int32))])
    text = value.encode()
    offsets = np.arange(n + 1, dtype=np.int64) * len(text)
    whole = pa.Array.from_buffers(pa.large_string(), n, [None, pa.py_buffer(offsets), pa.py_buffer(text * n)])
    return whole.cast(pa.string())


def partitioned(rows: pa.Table, experiment: str, round_: int, part: str) -> pa.Table:
    """`rows` with the partition columns first."""
    n = rows.num_rows
    constants = [
        pa.repeat(pa.scalar(v, PARTITION.field(c).type), n) for c, v in zip(PARTITION.names, (experiment, round_, part), strict=True)
    ]
    return pa.Table.from_arrays([*constants, *rows.columns], names=[*PARTITION.names, *rows.column_names])
