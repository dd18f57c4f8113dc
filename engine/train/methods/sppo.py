"""SPPO: each answer's log-ratio is drawn to how often it wins against the policy's own answers.

    loss = 1/2 { [log pi/pi_ref (y_w) - eta (w_w - 1/2)]^2 + [log pi/pi_ref (y_l) - eta (w_l - 1/2)]^2 }

with sums over target tokens; the reference is the round's start. `targets` says what the win rates are:

    soft     w_w, w_l: entries win_chosen and win_rejected of `extra`, each answer's mean probability of beating its siblings
    single   w_w = p, w_l = 1 - p: `probability`, that the chosen one beats the rejected one
    hard     w_w = 1, w_l = 0, and no factor 1/2: TRL's sppo_hard, whose beta is 1 / eta

`soft` is 1/2 eta^2 [(w_w - 1/2)^2 + (w_l - 1/2)^2] where the model is the reference, `hard` eta^2 / 2. Source: Wu et al.,
"Self-Play Preference Optimization for Language Model Alignment", ICLR 2025, arXiv 2405.00675, equation 4.7; `single` from its
repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `sppo`."""

    eta: float = F(1000.0, "log-ratio between an answer that always wins and one that always loses; 1 / beta", gt=0)
    targets: Literal["soft", "single", "hard"] = F("soft", "where the win rates come from")


@objectives.register("sppo")
class Sppo(PairObjective):
    """Self-play preference optimization."""

    Params = Params
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = dict.fromkeys(("win_chosen", "win_rejected", "probability"), (0.0, 1.0))

    @property
    def columns(self) -> tuple[str, ...]:
        """The win rates that `targets` needs."""
        return {"soft": ("win_chosen", "win_rejected"), "single": ("probability",), "hard": ()}[self.params.targets]

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        eta, targets = self.params.eta, self.params.targets
        if targets == "hard":
            return (values.chosen_ratio - eta / 2) ** 2 + (values.rejected_ratio + eta / 2) ** 2
        if targets == "soft":
            chosen, rejected = values.number("win_chosen"), values.number("win_rejected")
        else:
            chosen, rejected = values.number("probability"), 1 - values.number("probability")
        return ((values.chosen_ratio - eta * (chosen - 0.5)) ** 2 + (values.rejected_ratio - eta * (rejected - 0.5)) ** 2) / 2

    def rewards(self, values: PairValues) -> tuple[Tensor, Tensor]:
        """Log-ratios over eta: the win rate less 1/2 where the loss is 0."""
        return values.chosen_ratio / self.params.eta, values.rejected_ratio / self.params.eta
