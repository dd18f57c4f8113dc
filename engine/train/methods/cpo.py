"""CPO: DPO with a uniform reference, held to the chosen answers by their likelihood.

    loss = -log sigma(beta [log pi(y_w) - log pi(y_l)]) + nll * NLL(y_w)

with sums in the first term. `nll: 0` leaves the second out; `nll_over` says what it is a mean over: all target tokens of the batch
(TRL) or those of the answer. `form: hinge` puts max(0, 1 - z) in the place of -log sigma(z): SLiC (arXiv 2305.10425). CPO-SimPO is
the objective `simpo` with `nll` above 0. Source: Xu et al., "Contrastive Preference Optimization", ICML 2024, arXiv 2401.08417.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.errors import SpecError
from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from engine.spec import Spec, Train


class Params(Part):
    """Settings of `cpo`."""

    beta: float = F(0.1, "scale of the log-probabilities", gt=0)
    form: Literal["sigmoid", "hinge"] = F("sigmoid", "of the first term")
    label_smoothing: float = F(0.0, "share of pairs whose label is taken to be wrong", ge=0, lt=0.5)
    nll: float = F(1.0, "weight of the negative log-likelihood of the chosen answer", ge=0)
    nll_over: Literal["batch", "answer"] = F("batch", "tokens that it is a mean over")


@objectives.register("cpo")
class Cpo(PairObjective):
    """Contrastive preference optimization."""

    Params = Params
    reference = "none"

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        from engine.train.losses import nll, smoothed

        how = self.params
        z = how.beta * values.margin
        loss = smoothed(z, how.label_smoothing) if how.form == "sigmoid" else (1 - z).relu()
        return loss + how.nll * nll(values, how.nll_over) if how.nll else loss

    def check(self, spec: Spec, train: Train, spec_path: Path) -> None:
        """SpecError where smoothing is asked of the hinge, which has no label to smooth."""
        if self.params.form == "hinge" and self.params.label_smoothing:
            raise SpecError(
                f"train.params.label_smoothing: the hinge has none, found {self.params.label_smoothing}",
                hint="leave it out or set form: sigmoid",
            )
