"""AOT: the rewards of a batch of chosen answers are to dominate those of the rejected ones as distributions, not pair by pair.

    loss = smoothed -log sigma(beta [u_(i) - v_(i)])

over the sorted values u_(1) <= u_(2) <= ... of one batch: `paired` sorts log pi(y_w)/pi(y_l) and its reference's, `unpaired` the
log-ratios of the chosen and those of the rejected answers. What a row's loss is depends on its batch, so batch_size is a part of the
method, and rows must weigh alike. `label_smoothing` as in `dpo`. Source: Melnyk et al., "Distributional Preference Alignment of LLMs
via Optimal Transport", NeurIPS 2024, arXiv 2406.05882.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `aot`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)
    label_smoothing: float = F(0.0, "share of pairs whose label is taken to be wrong", ge=0, lt=0.5)
    form: Literal["paired", "unpaired"] = F("paired", "what is sorted")


@objectives.register("aot")
class Aot(PairObjective):
    """Alignment by optimal transport."""

    parts = weighted = False
    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        from engine.train.losses import smoothed

        assert values.ref_chosen is not None and values.ref_rejected is not None
        if self.params.form == "paired":
            left, right = values.chosen - values.rejected, values.ref_chosen - values.ref_rejected
        else:
            left, right = values.chosen_ratio, values.rejected_ratio
        return smoothed(self.params.beta * (left.sort().values - right.sort().values), self.params.label_smoothing)
