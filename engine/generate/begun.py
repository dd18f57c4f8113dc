"""Answers whose beginning was given: the last message that was asked is the assistant's, and the model went on from there.

Such an answer is filed whole, so that scorers see what a reader would: `response` is the beginning and what the model wrote, and `meta` has
`prefix`, the characters of the beginning. Tokens, their log-probabilities and response_tokens are of what the model wrote alone.
"""

from __future__ import annotations

import json

import pyarrow as pa

from engine import models
from engine.ids import canonical, content_id


def whole(rows: pa.Table) -> pa.Table:
    """Rows of `generations` with the given beginnings in `response`, `content_id` and `meta`; a row without one stays as it is."""
    asked = rows["messages"].to_pylist()
    given = [said[-1]["content"] if said and models.begun(said) else "" for said in asked]
    if not any(given):
        return rows
    texts = [start + text for start, text in zip(given, rows["response"].to_pylist(), strict=True)]
    metas = [
        canonical(json.loads(meta or "{}") | {"prefix": len(start)}) if start else meta
        for start, meta in zip(given, rows["meta"].to_pylist(), strict=True)
    ]
    columns = {"response": texts, "content_id": [content_id(text) for text in texts], "meta": metas}
    for name, values in columns.items():
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values, pa.string()))
    return rows
