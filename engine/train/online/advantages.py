"""Advantages of a group of answers to one prompt, from their rewards. Pure functions on plain numbers.

A reward of None (a scorer that could not say) stays out of means, and its advantage is 0. A group whose rewards are all equal has
advantages of exactly 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Std = Literal["population", "sample", "none"]
EPSILON = 1e-8  # keeps rounding of equal rewards from becoming an advantage of 1
Rewards = Sequence[float | None]


def standardised(rewards: Rewards, std: Std) -> list[float]:
    """(r - mean) / (std + 1e-8). `std`: of the group as a population (divided by n) or as a sample (by n - 1), or none, which is
    Dr. GRPO's (Liu et al., "Understanding R1-Zero-Like Training", arXiv 2503.20783): a mean without a scale."""
    known = _known(rewards)
    if same(rewards):
        return [0.0] * len(rewards)
    mean = math.fsum(known) / len(known)
    scale = 1.0
    if std != "none":
        n = len(known) - (std == "sample")
        scale = math.sqrt(math.fsum((r - mean) ** 2 for r in known) / n) + EPSILON
    return [0.0 if r is None else (r - mean) / scale for r in rewards]


def left_one_out(rewards: Rewards) -> list[float]:
    """r less the mean of the others' (Kool et al. 2019; Ahmadian et al., "Back to Basics", arXiv 2402.14740)."""
    known = _known(rewards)
    if same(rewards):
        return [0.0] * len(rewards)
    total, others = math.fsum(known), len(known) - 1
    return [0.0 if r is None else r - (total - r) / others for r in rewards]


def same(rewards: Rewards) -> bool:
    """Whether a group says nothing: fewer than two rewards, or all of them equal."""
    known = _known(rewards)
    return len(known) < 2 or min(known) == max(known)


def _known(rewards: Rewards) -> list[float]:
    return [r for r in rewards if r is not None]
