"""Which rows are consumed at which optimizer step, decided before training from the rows' ids alone.

Batches are random, not of like length: sorting by length within blocks of 64 batches saved 30% of the time and cost
half of the held-out accuracy (quickstart's base, three seeds: 0.22 against 0.49), because such batches hold few topics.
"""

from __future__ import annotations

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
        batches += [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return batches[:steps]
