"""INPO: mirror descent towards the Nash policy of a game between policies that is kept near the base.

    loss = (h - 1 / (2 eta))^2
    h = log pi(y_w)/pi(y_l) - (tau/eta) log pi_base(y_w)/pi_base(y_l) - (1 - tau/eta) log pi_t(y_w)/pi_t(y_l)

with sums over target tokens, not means (TRL's `ipo` divides by lengths and is another loss). The two models are one reference:
`reference: {base: tau/eta, previous: 1 - tau/eta}`, which `check` asks for. tau = 0 is IPO against the round's start, tau = eta IPO
against the base, both with beta = eta. Where the model is the reference it is (1 / (2 eta))^2. The next policy of the theory,
exp(P/eta) pi_base^(tau/eta) pi_t^(1 - tau/eta), needs both answers drawn from the policy and the label drawn from the preference;
best-of-K pairs sharpen it. Source: Zhang et al., "Iterative Nash Policy Optimization", ICLR 2025, arXiv 2407.00617.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import SpecError
from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from engine.spec import Spec, Train


class Params(Part):
    """Settings of `inpo`."""

    eta: float = F(0.0075, "step size of mirror descent; the target of h is 1 / (2 eta)", gt=0)
    tau: float = F(0.0025, "strength of the pull to the base, at most eta", ge=0)


@objectives.register("inpo")
class Inpo(PairObjective):
    """Iterative Nash policy optimization."""

    Params = Params

    def check(self, spec: Spec, train: Train, spec_path: Path) -> None:
        """SpecError unless the reference is the mixture that eta and tau make."""
        how = self.params
        if how.tau > how.eta:
            raise SpecError(f"train.params.tau: expected at most eta, {how.eta}; found {how.tau}", hint="the paper's are 0.0025 and 0.0075")
        share = how.tau / how.eta
        wanted = {"base": share, "previous": 1 - share}
        if any(abs(wanted.get(name, 0.0) - train.references.get(name, 0.0)) > 1e-5 for name in {*wanted, *train.references}):
            base = round(share, 6)
            raise SpecError(
                f"train.reference: inpo with tau {how.tau} and eta {how.eta} compares with the mixture base^(tau/eta) "
                f"previous^(1 - tau/eta); found {train.reference}",
                hint=f"write reference: {{base: {base}, previous: {round(1 - base, 6)}}}",
            )

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        return (values.margin - 1 / (2 * self.params.eta)) ** 2

    def rewards(self, values: PairValues) -> tuple[Tensor, Tensor]:
        """eta times the log-ratio to the mixture; their margin is 1/2 where the loss is 0."""
        return self.params.eta * values.chosen_ratio, self.params.eta * values.rejected_ratio
