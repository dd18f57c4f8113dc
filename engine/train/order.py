"""Which rows are consumed at which optimizer step, decided before training from ids and lengths alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.errors import StepError
from engine.randomness import row_keys, shuffled, uniforms

STEP = "checkpoint"
BLOCK = 64  # batches within which rows are sorted by length: long enough to save padding, short enough to stay random


def plan(
    row_ids: Sequence[str],
    lengths: Sequence[int],
    *,
    batch_size: int,
    epochs: float,
    max_steps: int | None,
    seed: int,
    round_: int,
) -> list[list[int]]:
    """Row numbers of every batch, in the order of consumption (one batch is one optimizer step).

    An epoch is a permutation of all rows; its batches hold rows of like length and come in random order. `max_steps`
    takes as many epochs as it needs, the last one cut; else `epochs` passes (a fraction cuts the last). Depends on
    the set of ids and lengths, not on the order in which the rows came.
    """
    if not row_ids:
        raise StepError("no rows to train on")
    by_id = sorted(range(len(row_ids)), key=lambda i: row_ids[i])
    ids = [row_ids[i] for i in by_id]
    sizes = np.array([lengths[i] for i in by_id])
    keys = row_keys(seed, round_, STEP, ids)
    per_epoch = -(-len(ids) // batch_size)
    steps = max_steps or max(1, round(epochs * per_epoch))
    batches: list[list[int]] = []
    epoch = 0
    while len(batches) < steps:
        batches += _epoch(ids, sizes, uniforms(keys, epoch), batch_size, seed, round_, epoch)
        epoch += 1
    return [[by_id[i] for i in batch] for batch in batches[:steps]]


def _epoch(ids: list[str], sizes: np.ndarray, draws: np.ndarray, batch: int, seed: int, round_: int, epoch: int) -> list[list[int]]:
    order = np.argsort(draws, kind="stable")
    full = len(order) // batch * batch
    # What does not fill a batch is taken before sorting: else the smallest batch would always hold the longest rows.
    batches = [order[full:].tolist()] if full < len(order) else []
    for start in range(0, full, BLOCK * batch):
        block = order[start : min(start + BLOCK * batch, full)]
        block = block[np.argsort(sizes[block], kind="stable")]
        batches += [block[i : i + batch].tolist() for i in range(0, len(block), batch)]
    return [batches[i] for i in shuffled(seed, round_, f"{STEP} batches {epoch}", [ids[b[0]] for b in batches])]
