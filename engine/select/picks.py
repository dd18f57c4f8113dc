"""What a greedy picker gives back: for each candidate the position at which it was picked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from engine.errors import StepError
from engine.ids import canonical


def picks(rows: pa.Table, picked: Sequence[int], detail: Mapping[int, dict[str, Any]]) -> pa.Table:
    """item_id, value (1, 2, ... in the order of `picked`, null for the others) and detail (JSON, null where there is none).

    `picked` and the keys of `detail` are positions in `rows`. StepError for a row that was picked twice.
    """
    position = {row: n for n, row in enumerate(picked, 1)}
    if len(position) != len(picked):
        raise StepError(f"a picker gave {len(picked)} picks, {len(position)} of them different")
    places = range(rows.num_rows)
    values = pa.array([position.get(i) for i in places], pa.float64())
    told = pa.array([canonical(detail[i]) if i in detail else None for i in places], pa.string())
    return pa.table({"item_id": rows["item_id"], "value": values, "detail": told})
