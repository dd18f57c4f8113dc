"""Fine-tuning transfer: what a fine-tuning has changed in one base is added to another base, without training.

    theta = theta_new + scale (theta_ft - theta_old),   of: [new base, fine-tuned], base: old base

Both bases have one architecture and tokenizer; the config is that of the new base. Also a start for further training: `init` of an
entry of `train` may name the role of this merge. Source: Lin et al., "Efficient Model Development through Fine-tuning Transfer",
2025, arXiv 2503.20110.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from engine.merge import Merger, Named, mergers
from engine.parts.part import F, Part

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `transfer`."""

    scale: float = F(1.0, "factor of the difference")


@mergers.register("transfer")
class Transfer(Merger):
    """Moves a difference to another base."""

    Params = Params
    base: ClassVar[Literal["needed", "unused"]] = "needed"
    members: ClassVar[tuple[int, int | None]] = (2, 2)
    weighted: ClassVar[bool] = False
    same_config: ClassVar[bool] = False

    def tensor(self, named: Named) -> Tensor:
        """See the file's formula. Where the bases agree and scale is 1, exactly the fine-tuned weight."""
        import torch

        assert named.base is not None
        new, tuned = named.members
        moved = new + self.params.scale * (tuned - named.base)
        return torch.where(new == named.base, tuned, moved) if self.params.scale == 1 else moved
