"""RPO: DPO that is kept from over-optimisation by the likelihood of the chosen answers. Three scalings are in use:

    sum      loss = DPO + beta * coefficient * sum NLL(y_w)     the paper's equation; coefficient is its eta
    answer   loss = DPO + coefficient * NLL(y_w) a token         its appendix F, better on reasoning (coefficient about 0.2)
    batch    loss = DPO + coefficient * NLL a token of the batch  TRL's loss_type [sigmoid, sft]

`sum` at beta 0.01 and eta 0.005 weighs a token as `batch` at 0.005 does only for answers of 100 tokens. `coefficient: 0` is DPO.
Source: Liu et al., "Provably Mitigating Overoptimization in RLHF: Your SFT Loss is Implicitly an Adversarial Regularizer", NeurIPS
2024, arXiv 2405.16436.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `rpo`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)
    scale: Literal["sum", "answer", "batch"] = F("sum", "how the likelihood is scaled; see the formulas")
    coefficient: float = F(0.005, "weight of the likelihood", ge=0)


@objectives.register("rpo")
class Rpo(PairObjective):
    """DPO with the likelihood of the chosen answer as a regulariser."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formulas; DPO's plus the likelihood."""
        from engine.train.losses import nll, smoothed

        how = self.params
        weight = how.coefficient * (how.beta if how.scale == "sum" else 1)
        return smoothed(how.beta * values.margin, 0.0) + weight * nll(values, how.scale)
