"""Batches whose answers have holes in the input: see `engine.train.methods.masked_thought`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from engine.randomness import row_keys, uniforms
from engine.train.encode import Example
from engine.train.methods.masked_thought import Params, rate_at
from engine.train.state import Consumed
from engine.train.trainer import IGNORED, Collator

POSITIONS = 1 << 24  # draws of one visit of a row: more than any row has tokens


class HolesCollator(Collator):
    """The batches of `Collator`, with some targets replaced by `hole` in the input."""

    def __init__(
        self, examples: Sequence[Example], consumed: Consumed, pad: int, *, hole: int, how: Params, seed: int, round_: int
    ) -> None:
        plan = consumed.plan
        super().__init__(examples, plan, pad)
        self.hole, self.how, self.steps = hole, how, consumed.steps
        self._keys = row_keys(seed, round_, "masked_thought", [example.row_id for example in examples])
        seen: Counter[int] = Counter()
        self._visits: list[list[int]] = []
        for batch in plan:
            self._visits.append([seen[row] for row in batch])
            seen.update(batch)

    def __call__(self, items: list[dict[str, int]]) -> dict[str, Any]:
        """`items` is one item: the number of the batch."""
        batch = super().__call__(items)
        number, targets = batch["batch"], (batch["labels"] != IGNORED).numpy()
        keys, visits = self._keys[self.plan[number]], np.array(self._visits[number], dtype=np.uint64)
        draws = visits[:, None] * np.uint64(POSITIONS) + np.arange(targets.shape[1], dtype=np.uint64)
        rate = rate_at(number, self.steps, self.how) if number < self.steps else 0.0  # batches that are only looked at have no holes
        hidden = targets & (uniforms(keys[:, None], draws) < rate)
        return batch | {"input_ids": batch["input_ids"].masked_fill(torch.from_numpy(hidden), self.hole)}
