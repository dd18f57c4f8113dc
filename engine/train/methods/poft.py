"""PoFT: preference-oriented supervised fine-tuning.

    loss = -log sigma(beta (m - anchor) + gamma),  m = log pi(y | x) / |y|

m is the mean log-probability a token, and `anchor` (in `extra`) the mean over several aligned models of the same, each by its own
template and tokenizer (the measure `anchor`). The gradient is that of cross-entropy times beta sigma(beta (anchor - m) - gamma): with
beta 1 at most that of cross-entropy, and less for a row that the model likes better than the aligned ones do.
Source: Fan et al., "Preference-Oriented Supervised Fine-Tuning: Favoring Target Model Over Aligned Large Language Models",
arXiv 2412.12865.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.rowwise import RowObjective, RowValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `poft`."""

    beta: float = F(1.0, "how steep the preference is", gt=0)
    gamma: float = F(0.0, "the margin that is granted beforehand")


@objectives.register("poft")
class Poft(RowObjective):
    """Trains the model to like its demonstrations better than aligned models do."""

    Params = Params

    @property
    def columns(self) -> tuple[str, ...]:
        return ("anchor",)

    def loss(self, values: RowValues) -> Tensor:
        """See the file's formula; log 2 where the model likes a row as much as the anchor."""
        from torch.nn.functional import logsigmoid

        return -logsigmoid(self.params.beta * (values.mean - values.number("anchor")) + self.params.gamma)

    def log(self, values: RowValues, weights: Tensor) -> dict[str, Tensor]:
        """The margin over the anchor, nats a token, and the share of rows that have one."""
        margin = (values.mean - values.number("anchor")).detach()
        return {"margins": (margin * weights).sum(), "accuracies": ((margin > 0) * weights).sum()}
