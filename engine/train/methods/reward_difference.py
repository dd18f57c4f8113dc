"""Reward difference regression: the policy as a reward model, fitted to the rewards of two answers instead of to which is better.

    loss = (beta [log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l)] - [r(y_w) - r(y_l)])^2

with sums over target tokens. Its minimum over all answers is pi ~ pi_ref exp(r / beta). `rewards` says where r comes from: `margin`
of the row, or two entries of `extra`. REBEL (beta = 1 / eta) takes those of a reward model; RLHF-sharpening the base's own
log-probability: `pairs: {logps: [base]}`, `reference: base` and `rewards: [chosen_logps_base, rejected_logps_base]`, whose minimum is
pi ~ pi_base^(1 + 1/beta). The order of the two answers does not matter. Source: Gao et al., "REBEL: Reinforcement Learning via
Regressing Relative Rewards", NeurIPS 2024, arXiv 2404.16767; Huang et al., "Self-Improvement in Language Models: The Sharpening
Mechanism", ICLR 2025, arXiv 2412.01951.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `reward_difference`."""

    beta: float = F(1.0, "how strongly the model stays near the reference", gt=0)
    rewards: Literal["margin"] | tuple[str, str] = F(
        "margin", "margin of the row, or the entries of extra with the rewards of chosen and rejected"
    )


@objectives.register("reward_difference")
class RewardDifference(PairObjective):
    """Regression of the margin on the difference of rewards."""

    Params = Params

    @property
    def columns(self) -> tuple[str, ...]:
        """The margin, or both rewards."""
        return ("margin",) if self.params.rewards == "margin" else tuple(self.params.rewards)

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        numbers = [values.number(name) for name in self.columns]
        return (self.params.beta * values.margin - (numbers[0] if len(numbers) == 1 else numbers[0] - numbers[1])) ** 2
