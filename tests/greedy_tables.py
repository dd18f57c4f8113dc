"""Candidates for greedy pickers, and the picker run on them."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from engine.randomness import row_keys
from engine.select.pickers import Picker, split
from engine.spec import Picker as Entry


def candidates(vectors: Any = None, width: pa.DataType | None = None, **columns: Any) -> pa.Table:
    """Rows with ids i0000, i0001, ..., in that order; `width`: the type of a vector's numbers."""
    count = len(vectors if vectors is not None else next(iter(columns.values())))
    ids = [f"i{n:04d}" for n in range(count)]
    table = {"item_id": ids, "prompt_id": [f"p{n}" for n in range(count)]}
    if vectors is not None:
        table["vector"] = pa.array([[float(x) for x in row] for row in vectors], pa.list_(width or pa.float64()))
    return pa.table(table | columns)


def picker(method: str, **params: Any) -> Picker:
    """The picker of a spec entry."""
    return split(Entry(method=method, sql="x.sql", params=params))[0]


def pick(method: str, rows: pa.Table, seed: int = 1, **params: Any) -> tuple[list[int], list[Any]]:
    """(rows in the order of picking, detail of every row); the positions are 1, 2, ..."""
    made = picker(method, **params).pick(rows, row_keys(seed, 0, "pick", rows["item_id"].to_pylist()))
    assert made["item_id"].to_pylist() == rows["item_id"].to_pylist()
    found = sorted((value, row) for row, value in enumerate(made["value"].to_pylist()) if value is not None)
    assert [value for value, _ in found] == list(range(1, len(found) + 1))
    return [row for _, row in found], [json.loads(text) if text else None for text in made["detail"].to_pylist()]
