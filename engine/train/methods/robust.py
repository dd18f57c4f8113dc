"""Robust DPO: an estimate of DPO's loss on clean labels that is unbiased where a share eps of the labels was flipped.

    loss = [(1 - eps)(-log sigma(z)) - eps(-log sigma(-z))] / (1 - 2 eps),  z as in `dpo`

log 2 where the model is the reference, whatever eps. Unlike cDPO's, it falls without bound as z grows. Source: Ray Chowdhury et al.,
"Provably Robust DPO: Aligning Language Models with Noisy Feedback", ICML 2024, arXiv 2403.00409.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `robust`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)
    label_smoothing: float = F(0.1, "share of labels that were flipped", ge=0, lt=0.5)


@objectives.register("robust")
class Robust(PairObjective):
    """DPO that expects wrong labels."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        from torch.nn.functional import logsigmoid

        z, eps = self.params.beta * values.margin, self.params.label_smoothing
        return (-(1 - eps) * logsigmoid(z) + eps * logsigmoid(-z)) / (1 - 2 * eps)
