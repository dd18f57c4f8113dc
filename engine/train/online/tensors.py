"""The tensors of a batch of answers, as TRL's losses take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Answers:
    """A batch on its device: `prompt_ids`, `prompt_mask` (rows, longest prompt), padded on the left; `completion_ids`, `completion_mask`
    (rows, longest answer), padded on the right, the mask 0 where a token does not train."""

    prompt_ids: torch.Tensor
    prompt_mask: torch.Tensor
    completion_ids: torch.Tensor
    completion_mask: torch.Tensor

    def rows(self, piece: slice) -> Answers:
        """Some of the rows, without columns that are padding in all of them."""
        left = self.prompt_ids.shape[1] - int(self.prompt_mask[piece].sum(dim=1).max())
        right = max(1, int(self.completion_mask[piece].sum(dim=1).max()))
        return Answers(
            self.prompt_ids[piece, left:],
            self.prompt_mask[piece, left:],
            self.completion_ids[piece, :right],
            self.completion_mask[piece, :right],
        )

    def inputs(self) -> dict[str, torch.Tensor]:
        """By TRL's names."""
        names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
        return {name: getattr(self, name) for name in names}

    @property
    def ids(self) -> torch.Tensor:
        """Prompts and answers side by side."""
        return torch.cat([self.prompt_ids, self.completion_ids], dim=1)

    @property
    def mask(self) -> torch.Tensor:
        """1 where `ids` are seen."""
        return torch.cat([self.prompt_mask, self.completion_mask], dim=1)


def answers(prompts: Sequence[Sequence[int]], drawn: Sequence[Sequence[int]], trains: Sequence[bool], pad: int, device: Any) -> Answers:
    """Token ids of prompts and of the answers drawn to them, a row each; an answer that does not train has an empty mask."""
    n, left, right = len(drawn), max(map(len, prompts)), max(map(len, drawn))
    asked, said = np.full((n, left), pad), np.full((n, right), pad)
    asked_mask, said_mask = np.zeros((n, left), dtype=np.int64), np.zeros((n, right), dtype=np.int64)
    for i, (prompt, tokens, own) in enumerate(zip(prompts, drawn, trains, strict=True)):
        asked[i, left - len(prompt) :], asked_mask[i, left - len(prompt) :] = prompt, 1
        said[i, : len(tokens)], said_mask[i, : len(tokens)] = tokens, int(own)
    return Answers(*(torch.from_numpy(array).to(device) for array in (asked, asked_mask, said, said_mask)))


def padded(rows: Sequence[Sequence[float]], width: int, device: Any) -> torch.Tensor:
    """Numbers by row, filled up with 0 on the right to (rows, width) float32."""
    found = np.zeros((len(rows), width), dtype=np.float32)
    for i, row in enumerate(rows):
        found[i, : len(row)] = row[:width]
    return torch.from_numpy(found).to(device)
