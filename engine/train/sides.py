"""The sides of pairs as rows that the encoder takes: the shared prefix is context, and of a side's messages those train that the
mask names."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from engine.tables import TABLES
from engine.train.encode import ASSISTANT

SIDES = ("chosen", "rejected", "third")
MASK = "message"  # the encoder's: `rows` writes the weights


def rows(pairs: pa.Table, side: str, mask: str) -> pa.Table:
    """row_id, messages and weight (1) of one side of every pair, for an Encoder with the mask `MASK`.

    `mask` is that of `train.mask`, over the side's own messages: all assistant messages, the last one, or by each message's weight
    (0 leaves a tool's output out: multi-turn preference learning, arXiv 2409.02392).
    """
    made = []
    for row_id, prefix, said in zip(*(pairs[name].to_pylist() for name in ("row_id", "messages", side)), strict=True):
        made.append({"row_id": row_id, "messages": [*(m | {"weight": 0.0} for m in prefix), *_weighted(said, mask)], "weight": 1.0})
    columns = TABLES["selected"].columns
    return pa.Table.from_pylist(made, schema=pa.schema([columns.field(name) for name in ("row_id", "messages", "weight")]))


def _weighted(said: list[dict[str, Any]], mask: str) -> list[dict[str, Any]]:
    if mask == MASK:
        return said
    answers = [i for i, message in enumerate(said) if message["role"] == ASSISTANT]
    chosen = answers if mask == "assistant" else answers[-1:]
    return [message | {"weight": float(i in chosen)} for i, message in enumerate(said)]
