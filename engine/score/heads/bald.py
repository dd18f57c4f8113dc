"""How much several probabilities of one thing disagree: entropy, information gain (BALD), mean and variance. In nats.

Source: Houlsby et al., "Bayesian Active Learning for Classification and Preference Learning", arXiv 1112.5745; as UPO uses it
(arXiv 2409.11212): B = H(mean of the passes) - mean of H(pass), 0 where all passes agree, at most ln 2 for two classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

DECIMALS = 12


def entropy(p: float) -> float:
    """H of a probability and its complement."""
    return -math.fsum(q * math.log(q) for q in (p, 1 - p) if q > 0) + 0.0


def mean(values: Sequence[float]) -> float:
    """The mean, rounded."""
    return round(math.fsum(values) / len(values), DECIMALS) + 0.0


def variance(values: Sequence[float]) -> float:
    """The mean squared distance from the mean (of the passes themselves, not of a population they stand for)."""
    centre = math.fsum(values) / len(values)
    return round(math.fsum((value - centre) ** 2 for value in values) / len(values), DECIMALS) + 0.0


def bald(probabilities: Sequence[float]) -> float:
    """The information gain over the passes."""
    n = len(probabilities)
    gain = entropy(math.fsum(probabilities) / n) - math.fsum(map(entropy, probabilities)) / n
    return max(0.0, round(gain, DECIMALS)) + 0.0
