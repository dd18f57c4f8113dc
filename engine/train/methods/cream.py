"""CREAM, and soft-label DPO at large: each pair says how sure its label is.

    loss = c (-log sigma(z)) + (1 - c)(-log sigma(-z)),  z as in `dpo`,  c = `probability` of the row

CREAM's c is the consistency of two rankings of the prompt's answers, (Kendall tau + 1) / 2; its mode avg gives all rows the mean, dyn
each its own: a matter of the SQL. Smallest at z = log(c / (1 - c)); c = 1 is DPO, below 1/2 the label is flipped. `nll` as in `dpo`.
Source: Wang et al., "CREAM: Consistency Regularized Self-Rewarding Language Models", ICLR 2025, arXiv 2410.12735.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `cream`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)
    nll: float = F(0.0, "weight of the negative log-likelihood of the chosen answer a token", ge=0)


@objectives.register("cream")
class Cream(PairObjective):
    """DPO with a soft label a row."""

    Params = Params

    @property
    def columns(self) -> tuple[str, ...]:
        """The soft label."""
        return ("probability",)

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula; log 2 where the model is the reference."""
        from engine.train.losses import nll, smoothed

        loss = smoothed(self.params.beta * values.margin, 1 - values.number("probability"))
        return loss + self.params.nll * nll(values, "answer") if self.params.nll else loss
