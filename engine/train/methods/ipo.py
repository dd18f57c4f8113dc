"""IPO: a squared loss on the margin, which does not run away where a preference is certain.

    loss = (h - 1 / (2 beta))^2,  h = log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l)

Two conventions are in use. `normalise: none` is the paper's: h is a difference of sums, so the target is reached by few tokens of a
long answer. `normalise: tokens` divides each side's log-ratio by its target tokens first, as TRL does (its authors say that the
results of the paper are made so); beta does not carry over from one to the other. (1 / (2 beta))^2 where the model is the
reference: 25 at beta 0.1. Source: Azar et al., "A General Theoretical Paradigm to Understand Learning from Human Preferences",
AISTATS 2024, arXiv 2310.12036, equation 17.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `ipo`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)
    normalise: Literal["tokens", "none"] = F("tokens", "divide each log-ratio by its tokens, or take sums")


@objectives.register("ipo")
class Ipo(PairObjective):
    """Identity preference optimization."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        margin = values.margin_a_token if self.params.normalise == "tokens" else values.margin
        return (margin - 1 / (2 * self.params.beta)) ** 2
