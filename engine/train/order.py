"""Which rows are consumed at which optimizer step, decided before training from the rows' ids alone.

Batches are random, not of like length: sorting by length within blocks of 64 batches saved 30% of the time and cost
half of the held-out accuracy (quickstart's base, three seeds: 0.22 against 0.49), because such batches hold few topics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.errors import StepError
from engine.randomness import row_keys, uniforms

STEP = "checkpoint"


def plan(row_ids: Sequence[str], *, batch_size: int, epochs: float, max_steps: int | None, seed: int, round_: int) -> list[list[int]]:
    """Row numbers of every batch, in the order of consumption (one batch is one optimizer step).

    An epoch is a permutation of all rows, cut into batches; its last batch holds what is left. `max_steps` takes as
    many epochs as it needs, the last one cut; else `epochs` passes (a fraction cuts the last). Depends on the set of
    ids, not on the order in which the rows came. StepError without rows.
    """
    if not row_ids:
        raise StepError("no rows to train on")
    by_id = sorted(range(len(row_ids)), key=lambda i: row_ids[i])
    keys = row_keys(seed, round_, STEP, [row_ids[i] for i in by_id])
    per_epoch = -(-len(by_id) // batch_size)
    steps = max_steps or max(1, round(epochs * per_epoch))
    batches: list[list[int]] = []
    for epoch in range(-(-steps // per_epoch)):
        order = [by_id[i] for i in np.argsort(uniforms(keys, epoch), kind="stable")]
        batches += _cut(order, batch_size)
    return batches[:steps]


def as_selected(
    row_ids: Sequence[str], orders: Sequence[float | None], *, batch_size: int, epochs: float, max_steps: int | None
) -> list[list[int]]:
    """As `plan`, with the rows in the order of the column `order` of `selected`, the smallest first, ties by row_id.

    Every epoch repeats that order. StepError, naming rows, where one has no order (null or NaN), and without rows.
    """
    if not row_ids:
        raise StepError("no rows to train on")
    lost = sorted(row for row, order in zip(row_ids, orders, strict=True) if order is None or math.isnan(order))
    if lost:
        raise StepError(
            f"train.order is selected, and {len(lost):,} of {len(row_ids):,} rows have no `order`, such as row {lost[0]}",
            hint='let the SQL of `select` give every row a number as "order"; rows carried by data: cumulative keep the one of their '
            "round, worked examples of a base have none (data: round leaves them out); or set train.order: random",
        )
    keyed = [(order, row) for order, row in zip(orders, row_ids, strict=True)]
    order = sorted(range(len(row_ids)), key=lambda i: keyed[i])
    per_epoch = _cut(order, batch_size)
    steps = max_steps or max(1, round(epochs * len(per_epoch)))
    return [per_epoch[step % len(per_epoch)] for step in range(steps)]


def _cut(order: list[int], size: int) -> list[list[int]]:
    return [order[i : i + size] for i in range(0, len(order), size)]
