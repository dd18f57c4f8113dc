"""Draws tokens from logits: temperature, top-k, top-p and inverse-CDF sampling in float64, one uniform a row.

A draw is a function of a row's logits and its own uniform. The logits of a row differ in their last bits with the
batch around it (a matrix product sums in another order), so every draw also says whether it is sure: whether it
would be the same under any perturbation of the logits of that size. The caller draws unsure ones again from logits
that are computed for the row alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

# Largest difference between a logit in two batches, as a share of the row's largest absolute logit. Measured in
# float32: 7e-7 for a trained model of 2 layers, 9e-7 for one of 24 layers.
NOISE = 5e-6
CHUNK = 1 << 22  # logits in one float64 block: 32 MiB


@dataclass(frozen=True)
class Sampling:
    """How to draw: temperature 0 is greedy, top_k 0 and top_p 1 are no limit."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0

    @property
    def greedy(self) -> bool:
        """Whether no random number is used."""
        return self.temperature == 0


@dataclass
class Draws:
    """One draw a row: token ids (int64), log-probabilities in nats at temperature 1 without filters, and whether it is sure."""

    tokens: torch.Tensor
    logprobs: torch.Tensor
    sure: torch.Tensor


def draw(logits: torch.Tensor, uniforms: torch.Tensor, how: Sampling, noise: float = NOISE) -> Draws:
    """Draws one token a row. `logits` (n, vocabulary), `uniforms` (n) float64 in [0, 1) on the same device."""
    size = max(1, CHUNK // logits.shape[1])
    if logits.shape[0] <= size:
        return _draw(logits, uniforms, how, noise)
    parts = [_draw(logits[i : i + size], uniforms[i : i + size], how, noise) for i in range(0, logits.shape[0], size)]
    return Draws(*(torch.cat([getattr(part, name) for part in parts]) for name in ("tokens", "logprobs", "sure")))


def draw_each(logits: torch.Tensor, uniforms: torch.Tensor, hows: Sequence[Sampling]) -> Draws:
    """`draw` with a sampler for each row; a single one stands for all rows."""
    if len(distinct := dict.fromkeys(hows)) == 1:
        return draw(logits, uniforms, hows[0])
    tokens = torch.empty(len(hows), dtype=torch.int64, device=logits.device)
    found = Draws(tokens, torch.empty_like(uniforms), torch.empty_like(tokens, dtype=torch.bool))
    for how in distinct:
        rows = torch.tensor([row for row, one in enumerate(hows) if one == how], device=logits.device)
        got = draw(logits[rows], uniforms[rows], how)
        found.tokens[rows], found.logprobs[rows], found.sure[rows] = got.tokens, got.logprobs, got.sure
    return found


def _draw(logits: torch.Tensor, uniforms: torch.Tensor, how: Sampling, noise: float) -> Draws:
    # amax and amin take a tenth of the time of aminmax on a CPU (torch 2.13)
    low, high = logits.amin(dim=1, keepdim=True).double(), logits.amax(dim=1, keepdim=True).double()
    slack = noise * torch.maximum(high.abs(), low.abs()).squeeze(1)
    shifted = logits.double() - high
    plain = shifted.exp()
    if how.greedy:
        tokens, sure = _greedy(logits, slack)
        return Draws(tokens, _logprob(shifted, tokens, plain.sum(dim=1)), sure)
    slack = 2 * slack / how.temperature
    scaled = shifted / how.temperature if how.temperature != 1 else shifted
    masses = scaled.exp() if how.temperature != 1 else plain
    sure = torch.ones_like(uniforms, dtype=torch.bool)
    if how.top_k or how.top_p < 1:
        masses, sure = _filtered(scaled, masses, how, slack)
    cumulative = masses.cumsum(dim=1)
    total = cumulative[:, -1]
    target = (uniforms * total).unsqueeze(1)
    tokens = torch.searchsorted(cumulative, target, right=True)
    # A product that rounds up to the total would fall behind the last token that can be drawn.
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
    tokens = torch.minimum(tokens, last)
    upper = cumulative.gather(1, tokens).squeeze(1) / total
    lower = upper - masses.gather(1, tokens).squeeze(1) / total
    tokens = tokens.squeeze(1)
    sure = sure & ((upper - uniforms) >= slack * upper * (1 - upper)) & ((uniforms - lower) >= slack * lower * (1 - lower))
    whole = total if masses is plain else plain.sum(dim=1)
    return Draws(tokens, _logprob(shifted, tokens, whole), sure)


def _logprob(shifted: torch.Tensor, tokens: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    return shifted.gather(1, tokens.unsqueeze(1)).squeeze(1) - total.log()


def _greedy(logits: torch.Tensor, slack: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest logit's token, the lowest id of equals."""
    if logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.float64):
        tokens = torch.from_numpy(logits.numpy(force=True).argmax(axis=1))  # a tenth of the time of torch's on a CPU
    else:
        tokens = logits.argmax(dim=1)
    place = tokens.unsqueeze(1)
    others = logits.scatter(1, place, float("-inf")).amax(dim=1)
    return tokens, (logits.gather(1, place).squeeze(1).double() - others.double()) > 2 * slack


def _filtered(scaled: torch.Tensor, masses: torch.Tensor, how: Sampling, slack: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Masses with everything outside top-k, then top-p, set to 0, and whether noise could move a token over the border.

    Top-p keeps the fewest tokens whose share reaches p (Holtzman et al., "The Curious Case of Neural Text
    Degeneration", 2020); equal logits rank by token id.
    """
    values, order = torch.sort(scaled, dim=1, descending=True, stable=True)
    n, vocabulary = values.shape
    kept = torch.full((n,), vocabulary, dtype=torch.int64, device=values.device)
    sure = torch.ones(n, dtype=torch.bool, device=values.device)
    if 0 < how.top_k < vocabulary:
        kept.fill_(how.top_k)
        sure = values[:, how.top_k - 1] - values[:, how.top_k] >= slack
    if how.top_p < 1:
        ranked = masses.gather(1, order)
        if how.top_k:
            ranked[:, how.top_k :] = 0
        shares = ranked.cumsum(dim=1)
        shares = shares / shares[:, -1:]
        cut = torch.minimum((shares < how.top_p).sum(dim=1) + 1, kept)
        border = (shares - how.top_p).abs().amin(dim=1)
        sure &= border >= slack * how.top_p * (1 - how.top_p)
        at, after = (cut - 1).unsqueeze(1), cut.clamp(max=vocabulary - 1).unsqueeze(1)
        gap = (values.gather(1, at) - values.gather(1, after)).squeeze(1)
        sure &= (gap >= slack) | (cut >= kept)
        kept = cut
    ranks = torch.arange(vocabulary, device=values.device).expand(n, vocabulary)
    keep = torch.zeros_like(masses, dtype=torch.bool).scatter_(1, order, ranks < kept.unsqueeze(1))
    return torch.where(keep, masses, 0.0), sure
