"""DiscoPOP: a loss that a language model proposed, between logistic and exponential.

    loss = (1 - s)(-log sigma(z)) + s exp(-z),  s = sigma(z / tau),  z as in `dpo`

(1 + log 2) / 2 where the model is the reference. The loss is no falling function: from about z = -2.4 tau to 1.4 tau it rises, so the
first steps from the reference may lower the chosen answers. Source: Lu et al., "Discovering Preference Optimization Algorithms with and
for Large Language Models", NeurIPS 2024, arXiv 2406.08414, equation 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parts.part import F, Part
from engine.train import objectives
from engine.train.pairwise import PairObjective, PairValues

if TYPE_CHECKING:
    from torch import Tensor


class Params(Part):
    """Settings of `discopop`."""

    beta: float = F(0.1, "how strongly the model stays near the reference", gt=0)
    tau: float = F(0.05, "width of the change from logistic to exponential", gt=0)


@objectives.register("discopop")
class DiscoPop(PairObjective):
    """Discovered preference optimization."""

    Params = Params

    def loss(self, values: PairValues) -> Tensor:
        """See the file's formula."""
        from torch.nn.functional import logsigmoid

        z = self.params.beta * values.margin
        share = (z / self.params.tau).sigmoid()
        return -(1 - share) * logsigmoid(z) + share * (-z).exp()
