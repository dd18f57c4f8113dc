"""SuperHF: supervised fine-tuning on the best answers, held near the base by its divergence.

    loss of a batch = CE + kl_weight sum_i w_i max(0, mean over target tokens of KL(p_0 || p_theta))

CE is that of `sft`; the sum runs over the rows of the batch with their weights (`reduce: mean` divides it by the sum of weights), and the
divergence over the whole vocabulary, at the positions that predict the target tokens. The authors' code takes it one position later
(the mask is that of labels that are not shifted); here both terms see the same positions. p_0 is the model of `reference`.
Source: Mukobi et al., "SuperHF: Supervised Iterative Learning from Human Feedback", arXiv 2310.16763, and
https://github.com/openfeedback/superhf (kl_coefficient 0.35).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from engine.parts.part import F, Part
from engine.train import Job, Objective, Trained, objectives

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `superhf`."""

    kl_weight: float = F(0.35, "lambda, the weight of the divergence", ge=0)
    direction: Literal["forward", "reverse"] = F("forward", "forward: KL(base || policy), as published; reverse: KL(policy || base)")
    clamp: bool = F(True, "a row whose divergence is negative counts as 0")
    reduce: Literal["sum", "mean"] = F("sum", "over the rows of a batch")


@objectives.register("superhf")
class SuperHf(Objective):
    """Cross-entropy with a penalty on the divergence from a reference that runs beside."""

    reference: ClassVar[Literal["none", "values", "model"]] = "model"
    parts: ClassVar[bool] = True
    Params = Params

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on rows of `selected` beside `job.reference`; see `engine.train.Objective`."""
        from engine.train.divergence import train
        from engine.train.quiet import quiet

        with quiet():
            return train(job, self)

    def divergence(self, policy: Tensor, base: Tensor) -> Tensor:
        """KL of each position from log-probabilities over the vocabulary: (..., tokens) to (...)."""
        from torch.nn.functional import kl_div

        first, second = (policy, base) if self.params.direction == "forward" else (base, policy)
        return kl_div(first, second, reduction="none", log_target=True).sum(-1)

    def penalty(self, divergence: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """lambda times the sum over rows: `divergence` (rows, positions), `targets` where it counts, `weights` (rows,)."""
        means = (divergence * targets).sum(dim=1) / targets.sum(dim=1)
        return self.params.kl_weight * ((means.clamp(min=0) if self.params.clamp else means) * weights).sum()
