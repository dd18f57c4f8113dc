"""C-RLFT: rows of several sources, each asked under its own condition and weighted by its source's reward.

    loss of a batch = sum_i w_i (-log pi(y_i | x_i, c_i) / |y_i|) / sum_i w_i

w_i = exp(r_i / beta) up to a constant, in practice 1 for the expert's rows and 0.1 for the others; c_i is a text in the prompt that
names the source, and at inference always the expert's. The batch is divided by the sum of its weights, not by its rows or tokens: that
is the mean by row weight, as for all objectives here, of the mean a token. Weights and conditions come from SQL:
sql/select/c_rlft.sql. Source: Wang et al., "OpenChat", ICLR 2024, arXiv 2309.11235, and https://github.com/imoneoi/openchat
(`per_sequence_loss`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.train import objectives
from engine.train.rowwise import RowObjective, RowValues

if TYPE_CHECKING:
    from torch import Tensor


@objectives.register("c_rlft")
class CRlft(RowObjective):
    """Class-conditioned weighted fine-tuning; every row counts by its weight, however long it is."""

    def loss(self, values: RowValues) -> Tensor:
        """The mean negative log-likelihood of each row, nats a token."""
        return -values.mean
