"""Rows with answers to other prompts, for the divergence that KTO subtracts: y' of another row of the batch under this row's prompt.

Ethayarajh et al., "KTO", ICML 2024, arXiv 2402.01306, section 4: the reference point z0 = KL(pi || pi_ref) is estimated by mismatched
answers of the same batch. As in TRL, row i of a batch takes the answer of row i - 1. The partner of a row is that of the first batch
that it is planned in, so that the reference's number for it is one column of the row.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from engine.errors import StepError
from engine.spec import Train
from engine.tables import TABLES
from engine.train.encode import ASSISTANT
from engine.train.order import as_selected, plan

COLUMNS = pa.schema([TABLES["selected"].columns.field(name) for name in ("row_id", "messages", "weight")])


def unweighted(rows: pa.Table) -> pa.Table:
    """row_id, messages and weight 1: the weight of a row is no part of its log-probability."""
    return rows.select(["row_id", "messages"]).append_column("weight", pa.array([1.0] * rows.num_rows)).cast(COLUMNS)


def rows(given: pa.Table, train: Train, seed: int, round_: int) -> pa.Table:
    """`given` with the answer of each row replaced by its partner's. StepError where there is a single row."""
    ids, messages = given["row_id"].to_pylist(), given["messages"].to_pylist()
    found = partners(given, train, seed, round_)
    starts = [_answer(said, train.mask) for said in messages]
    made = [
        {"row_id": ids[i], "messages": messages[i][: starts[i]] + messages[found[i]][starts[found[i]] :], "weight": 1.0}
        for i in range(len(ids))
    ]
    return pa.Table.from_pylist(made, schema=COLUMNS)


def partners(given: pa.Table, train: Train, seed: int, round_: int) -> list[int]:
    """For each row the number of the row whose answer it takes. A row alone in its batch takes one of the batch before."""
    if given.num_rows < 2:
        raise StepError(
            "the divergence of KTO is estimated on answers to other prompts, and there is a single row",
            hint="select more rows, or set train.params.kl: none",
        )
    ids, size = given["row_id"].to_pylist(), train.batch_size
    if train.order == "selected":
        order = as_selected(ids, given["order"].to_pylist(), batch_size=size, epochs=1.0, max_steps=None)
    else:
        order = plan(ids, batch_size=size, epochs=1.0, max_steps=None, seed=seed, round_=round_)
    if size == 1:
        order = [[row for batch in order for row in batch]]
    elif len(order[-1]) == 1 and len(order) > 1:
        order[-2:] = [order[-2] + order[-1]]
    found = {row: batch[i - 1] for batch in order for i, row in enumerate(batch)}
    return [found[i] for i in range(given.num_rows)]


def _answer(said: list[dict[str, Any]], mask: str) -> int:
    """Where the first message that trains stands."""
    places = [i for i, one in enumerate(said) if (one["weight"] if mask == "message" else one["role"] == ASSISTANT)]
    if not places:
        raise StepError(f"a row has nothing that trains (messages: {', '.join(one['role'] for one in said)})", hint="look at train.mask")
    return places[-1] if mask == "last" else places[0]
