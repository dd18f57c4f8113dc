"""Terms that the losses on pairs share. Imports torch: a method's file imports it inside `loss`."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from engine.train.pairwise import PairValues

Over = Literal["answer", "batch", "sum"]  # what a negative log-likelihood is divided by


def smoothed(z: Tensor, flipped: float | Tensor) -> Tensor:
    """(1 - flipped)(-log sigma(z)) + flipped (-log sigma(-z)): `flipped` is the probability that the label is the wrong way round.

    log 2 at z = 0; smallest at z = log((1 - flipped) / flipped).
    """
    return -(1 - flipped) * logsigmoid(z) - flipped * logsigmoid(-z)


def nll(values: PairValues, over: Over, side: Literal["chosen", "third"] = "chosen") -> Tensor:
    """Negative log-likelihood of one side in nats, shape (rows,): the sum over its target tokens (`sum`), a token of the answer
    (`answer`), or divided by the mean number of target tokens a row, so that the mean over the batch is that over all its tokens
    (`batch`, as TRL has it: long answers count more)."""
    logps, tokens = (values.chosen, values.chosen_tokens) if side == "chosen" else (values.third, values.third_tokens)
    assert logps is not None and tokens is not None
    if over == "sum":
        return -logps
    if over == "answer":
        return -logps / tokens
    return -logps / (tokens.mean() if values.mean_tokens is None else values.mean_tokens[side])


def log_odds(mean: Tensor) -> Tensor:
    """log(p / (1 - p)) of p = exp(mean), a geometric mean of token probabilities.

    log(1 - p) is taken without cancellation (Mächler, "Accurately Computing log(1 - exp(-|a|))", 2012); p stays one float below 1,
    where the odds would be infinite.
    """
    below = mean.clamp(max=-torch.finfo(mean.dtype).eps)
    near = below > -0.6931471805599453  # log 2
    # Each branch sees only arguments that suit it: an infinite gradient of the other one would turn into NaN.
    one = torch.log(-torch.expm1(torch.where(near, below, -1.0)))
    other = torch.log1p(-torch.exp(torch.where(near, -1.0, below)))
    return below - torch.where(near, one, other)
