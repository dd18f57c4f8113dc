"""LiNeS: the difference of each block is scaled by its depth, so that shallow blocks stay near the base and less is forgotten.

    lambda_l = alpha + beta l / (L - 1) for block l of L;  lambda = alpha outside the blocks
    theta = theta_base + lambda sum_i w_i (theta_i - theta_base)

With one model: alpha small and alpha + beta about 1. Source: Wang et al., "LiNeS: Post-training Layer Scaling Prevents Forgetting
and Enhances Model Merging", ICLR 2025, arXiv 2410.17146.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.merge import Named, deltas, mergers
from engine.parts.part import F

if TYPE_CHECKING:
    from torch import Tensor


class Params(deltas.Params):
    """Settings of `lines`."""

    alpha: float = F(0.3, "scale of the first block, and of everything outside the blocks")
    beta: float = F(0.7, "what the scale grows by up to the last block")


@mergers.register("lines")
class Lines(deltas.DeltaMerger):
    """Scale by depth and add."""

    Params = Params

    def merged(self, deltas: Sequence[Tensor], named: Named) -> Tensor:
        """The sum of the differences, by the scale of their block."""
        return self.share(named.block, named.blocks) * super().merged(deltas, named)

    def share(self, block: int | None, blocks: int) -> float:
        """The scale of a block (None: outside all blocks); of a single one alpha + beta."""
        if block is None:
            return self.params.alpha
        return self.params.alpha + self.params.beta * (block / (blocks - 1) if blocks > 1 else 1.0)
