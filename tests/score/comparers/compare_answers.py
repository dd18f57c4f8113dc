"""Questions as a comparer gets them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from engine.score.comparers import QUESTION, Comparer, make
from engine.spec import Compare


def comparer(name: str, **params: Any) -> Comparer:
    """The comparer of that name."""
    return make(Compare(method=name, name="c", params=params))


def questions(rows: list[tuple[str, str, str]]) -> pa.Table:
    """Questions k0, k1, ... of (prompt, first, second)."""
    made = [
        {"key": f"k{i}", "messages": [{"role": "user", "content": ask}], "first": first, "second": second}
        for i, (ask, first, second) in enumerate(rows)
    ]
    return pa.Table.from_pylist(made, schema=QUESTION)
