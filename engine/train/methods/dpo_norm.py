"""Length-normalised DPO, as TULU 3 trains with.

    loss = -log sigma(z),  z = beta [log(pi(y_w)/pi_ref(y_w)) / |y_w| - log(pi(y_l)/pi_ref(y_l)) / |y_l|]

with |y| target tokens, so that a longer answer has no larger reward; beta is larger by about |y| than in `dpo`. log 2 where the model
is the reference. TRL's sigmoid_norm. Source: Lambert et al., "TULU 3: Pushing Frontiers in Open Language Model Post-Training",
arXiv 2411.15124, section 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `dpo_norm`."""

    beta: float = F(5.0, "how strongly the model stays near the reference", gt=0)
    label_smoothing: float = F(0.0, "share of pairs whose label is taken to be wrong", ge=0, lt=0.5)


@objectives.register("dpo_norm")
class DpoNorm(PairObjective):
    """Length-normalised DPO."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        from engine.train.losses import smoothed

        return smoothed(self.params.beta * values.margin_a_token, self.params.label_smoothing)

    def rewards(self, values: PairValues) -> tuple[Tensor, Tensor]:
        """beta times the log-ratio a token."""
        beta = self.params.beta
        return beta * values.chosen_ratio / values.chosen_tokens, beta * values.rejected_ratio / values.rejected_tokens
