"""UPO: DPO with a label as soft as an estimator's uncertainty about the pair.

    loss = (1 - alpha)(-log sigma(z)) + alpha (-log sigma(-z)) + nll * NLL(y_w) a token,  z as in `dpo`

`alpha: uncertainty` is min(B / log 2, 1/2) of the information gain B in nats (BALD; `uncertainty` in `extra`): 0 is DPO, and a pair
about which nothing is known teaches nothing. `alpha: printed` is the paper's 1 / (1 + P) of the pair's sampling weight P (`sampling`
in `extra`). P adds up to 1 over the pairs, so that alpha comes near 1 and flips the labels, at three pairs already; it is there to
compare with. The paper prints the likelihood with the wrong sign; here it is that of Iterative RPO (arXiv 2404.19733), its source.
Source: Wang et al., "Self-Evolutionary Large Language Models through Uncertainty-Enhanced Preference Optimization", AAAI 2025,
arXiv 2409.11212.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, log
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `upo`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)
    alpha: Literal["uncertainty", "printed"] = F("uncertainty", "how soft the label is; see the formulas")
    nll: float = F(0.0, "weight of the negative log-likelihood of the chosen answer a token", ge=0)


@objectives.register("upo")
class Upo(PairObjective):
    """DPO whose labels are the softer the less sure an estimator is."""

    Params = Params
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"uncertainty": (0.0, inf), "sampling": (0.0, 1.0)}

    @property
    def columns(self) -> tuple[str, ...]:
        """The number that alpha is made of."""
        return ("uncertainty",) if self.params.alpha == "uncertainty" else ("sampling",)

    def softness(self, values: PairValues) -> Tensor:
        """alpha of each row."""
        number = values.number(self.columns[0])
        return (number / log(2)).clamp(0, 0.5) if self.params.alpha == "uncertainty" else 1 / (1 + number)

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula; log 2 where the model is the reference and there is no `nll`."""
        from engine.train.losses import nll, smoothed

        loss = smoothed(self.params.beta * values.margin, self.softness(values))
        return loss + self.params.nll * nll(values, "answer") if self.params.nll else loss
