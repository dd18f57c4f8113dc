"""Rows of a batch side by side in few long sequences, so that no time goes into padding; rows do not see each other.

Position ids start again at every row, and there is no attention mask: from that transformers makes a block mask for `sdpa` and `eager`,
and flash attention takes the rows as sequences of unlike length (then all of them stand in one flat sequence).
Source of the order: best fit decreasing (Johnson 1973), as in Ding et al., "Fewer truncations improve language modeling", ICML 2024.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from engine.errors import StepError
from engine.train.encode import Example

FLASH = "flash_attention_2"
SAME = 1e-4  # nats between two logits that should be the same number, in float32


def bins(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Numbers of the rows of each sequence: the longest row first, each into the fullest sequence that still holds it. No sequence is
    longer than `capacity`, but for a row that is longer by itself."""
    found: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, sequence), ascending
    for row in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        at = bisect.bisect_left(room, (lengths[row], -1))
        left, number = room.pop(at) if at < len(room) else (max(capacity, lengths[row]), len(found))
        if number == len(found):
            found.append([])
        found[number].append(row)
        bisect.insort(room, (left - lengths[row], number))
    return found


@dataclass(frozen=True)
class PackingCollator:
    """Makes the parts of one planned batch, at most `micro` rows each: ids, positions, labels and weights (sequences, tokens); the
    weights of all parts together sum to 1 over the targets. `flat`: all rows of a part in one sequence."""

    examples: Sequence[Example]
    plan: list[list[int]]
    pad: int
    capacity: int
    micro: int | None = None
    flat: bool = False

    def __call__(self, items: list[dict[str, int]]) -> dict[str, Any]:
        """`items` is one item: the number of the batch."""
        number = items[0]["batch"]
        rows = [self.examples[i] for i in self.plan[number]]
        whole = sum(float(row.weights[1:].sum()) for row in rows)
        size = self.micro or len(rows)
        parts = [{"batch": number, **self._part(rows[at : at + size], whole)} for at in range(0, len(rows), size)]
        return {"batch": number, "parts": parts}

    def _part(self, rows: Sequence[Example], whole: float) -> dict[str, Any]:
        lengths = [len(row.ids) for row in rows]
        packed = [list(range(len(rows)))] if self.flat else bins(lengths, self.capacity)
        width = max(sum(lengths[i] for i in own) for own in packed)
        shape = (len(packed), width)
        ids, positions, weights = np.full(shape, self.pad), np.zeros(shape, dtype=np.int64), np.zeros(shape)
        for line, own in enumerate(packed):
            at = 0
            for i in own:
                end = at + lengths[i]
                ids[line, at:end], positions[line, at:end], weights[line, at:end] = rows[i].ids, np.arange(lengths[i]), rows[i].weights
                weights[line, at] = 0  # the first token of a row follows nothing
                at = end
            positions[line, at:] = np.arange(width - at)  # what is left is a row of its own that trains nothing
        return {
            "input_ids": torch.from_numpy(ids),
            "position_ids": torch.from_numpy(positions),
            "labels": torch.from_numpy(np.where(weights > 0, ids, -100)),
            "first": int((weights > 0).any(axis=0).argmax()),
            "weights": torch.from_numpy((weights / whole).astype(np.float32)),
        }


@torch.no_grad()
def check(model: Any, name: str, dtype: str = "float32") -> None:
    """StepError where rows of one sequence see each other in this model: then the second row's logits change with the first row's
    tokens. It depends on the architecture and on its attention, so the model itself is asked, on a GPU in the `dtype` that it trains in."""
    device, vocabulary = model.device, model.get_input_embeddings().weight.shape[0]
    ids = torch.arange(1, 17, device=device)[None] % vocabulary
    positions = torch.arange(8, device=device).repeat(2)[None]
    other = ids.clone()
    other[:, :8] = (ids[:, :8] + 7) % vocabulary
    with torch.autocast(device.type, getattr(torch, dtype), enabled=dtype != "float32" and device.type != "cpu"):
        alone = model(input_ids=ids[:, 8:], position_ids=positions[:, 8:], use_cache=False).logits[0].float()
        found = [model(input_ids=rows, position_ids=positions, use_cache=False).logits[0, 8:].float() for rows in (ids, other)]
    same = SAME if model.dtype == torch.float32 and device.type == "cpu" else 0.05 * float(alone.abs().max())
    far = max(float((logits - alone).abs().max()) for logits in found)
    if not far <= same:
        raise StepError(
            f"packing: rows of one sequence see each other in this model ({type(model).__name__}, attention "
            f"{model.config._attn_implementation}): logits differ by {far:.2g}",
            where=name,
            hint="train.params.packing: none, or a model and compute.attention that tell packed rows apart by their position ids",
        )
