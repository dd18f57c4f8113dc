"""KTO: rows that are desirable or undesirable, without pairs.

    r = log pi(y | x) / pi_ref(y | x),  z0 = max(0, KL(pi || pi_ref))
    desirable:    desirable_weight   (1 - sigma(beta (r - z0)))
    undesirable:  undesirable_weight (1 - sigma(beta (z0 - r)))

with sums over target tokens, so that the messages of a tool, whose weight is 0, count in neither (multi-turn KTO, arXiv 2409.02392,
with `mask: message`). z0 is estimated, without gradient, on answers to other prompts of the batch (`engine.train.mismatched`); with
`kl: none` it is 0, which is TRL's `apo_zero_unpaired`. The `label` of each row is desirable or undesirable: sql/select/kto.sql.
The paper wants desirable_weight x desirable rows to undesirable_weight x undesirable rows as 1 to 1 up to 4 to 3.
Source: Ethayarajh et al., "KTO: Model Alignment as Prospect Theoretic Optimization", ICML 2024, arXiv 2402.01306.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.rowwise import RowObjective, RowValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `kto`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)
    desirable_weight: float = F(1.0, "weight of the desirable rows", ge=0)
    undesirable_weight: float = F(1.0, "weight of the undesirable rows", ge=0)
    kl: Literal["batch", "none"] = F("batch", "batch: z0 is estimated on mismatched answers; none: it is 0")


@objectives.register("kto")
class Kto(RowObjective):
    """Kahneman-Tversky optimization."""

    reference: ClassVar[Literal["none", "values", "model"]] = "values"
    labelled: ClassVar[bool] = True
    Params = Params

    @property
    def mismatched(self) -> bool:
        return self.params.kl == "batch"

    def loss(self, values: RowValues) -> Tensor:
        """See the file's formula; half of the weight where the model is the reference."""
        assert values.desirable is not None
        how, good = self.params, values.desirable
        z = how.beta * (values.ratio - values.kl)
        sign, weight = good * 2.0 - 1.0, good * how.desirable_weight + ~good * how.undesirable_weight
        return weight * (1 - (sign * z).sigmoid())

    def log(self, values: RowValues, weights: Tensor) -> dict[str, Tensor]:
        """Means of the implicit rewards by label, and z0."""
        assert values.desirable is not None and values.share is not None
        reward, good = (self.params.beta * values.ratio).detach() * values.share, values.desirable
        found = {"kl": values.kl * weights.sum()}
        if good.any():
            found["rewards/desirable"] = reward[good].sum()
        if not good.all():
            found["rewards/undesirable"] = reward[~good].sum()
        return found
