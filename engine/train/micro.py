"""A batch in parts, a forward pass each (`train.micro_batch`): memory is that of a part, the gradient that of the batch.

That holds for losses that are sums over rows with weights fixed for the whole batch: a mean over the batch is such a sum, once its
denominator is the batch's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

MASK = "attention_mask"


@dataclass
class Taken:
    """What the parts of one batch have given so far; `parts` is how many there are."""

    parts: int = 1
    found: list[dict[str, float]] = field(default_factory=list)

    def add(self, loss: float, numbers: Mapping[str, float]) -> dict[str, float] | None:
        """One part's loss and numbers; their sums once every part has given its own, before that None."""
        self.found.append({"loss": loss, **numbers})
        if len(self.found) < self.parts:
            return None
        names = dict.fromkeys(name for part in self.found for name in part)
        whole = {name: math.fsum(part.get(name, 0.0) for part in self.found) for name in names}
        self.found = []
        return whole


def split(inputs: Mapping[str, Any], rows: int, size: int) -> list[dict[str, Any]]:
    """The tensors of a batch of `rows` rows, `size` rows at a time; what is no tensor over rows goes into every part.

    A tensor of k * rows entries is k blocks of rows (the chosen sides of pairs, then the rejected ones), each cut alike. Columns that
    hold nothing but padding on the right in all of a part's rows are left out of it.
    """
    return [_narrow(_cut(inputs, rows, slice(start, start + size))) for start in range(0, rows, size)]


def _cut(inputs: Mapping[str, Any], rows: int, piece: slice) -> dict[str, Any]:
    cut: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, Mapping):
            cut[name] = _cut(value, rows, piece)
        elif isinstance(value, torch.Tensor) and value.dim():
            if len(value) % rows:
                raise ValueError(f"{name} has {len(value)} entries, which is no multiple of the {rows} rows of its batch")
            cut[name] = value.unflatten(0, (-1, rows))[:, piece].flatten(0, 1)
        else:
            cut[name] = value
    return cut


def _narrow(part: dict[str, Any]) -> dict[str, Any]:
    mask = part.get(MASK)
    if mask is None:
        return part
    width = int(mask.any(dim=0).nonzero().max()) + 1
    wide = {name for name, value in part.items() if isinstance(value, torch.Tensor) and value.shape == mask.shape}
    return {name: value[:, :width] if name in wide else value for name, value in part.items()}
