"""Building blocks of coverage-centric selection: entropy of a score's histogram, budgets of clusters, stratified bins.

Source: Maharana et al., "Adapt-infinity: Scalable Lifelong Multimodal Instruction Tuning via Dynamic Data Selection", arXiv
2410.10636, and its code adymaharana/adapt-inf; stratified bins from Zheng et al., "Coverage-centric Coreset Selection for High
Pruning Rates", ICLR 2023. Sums are exact (math.fsum), so that no order of rows moves a budget or an entropy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engine.allocate import allocate, water_fill
from engine.errors import StepError

EDGE = 4.0  # histogram from -EDGE to EDGE standard deviations


def deviation(values: np.ndarray) -> tuple[float, float]:
    """Mean and population standard deviation of (n,) numbers."""
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((values - mean) ** 2) / len(values))


def entropy(values: np.ndarray, bins: int = 50, repo_compat: bool = False) -> float:
    """Shannon entropy in bits of the histogram of (n,) scores after z-scoring, over `bins` between -4 and 4; constant scores: 0.

    What lies farther out counts in the outermost bin. `repo_compat`: the bins of the paper's code, between -4 and 4 times the
    standard deviation of the raw scores; what lies outside is lost, so scores on a small scale lose their entropy.
    """
    mean, spread = deviation(values)
    if not spread > 1e-12 * max(1.0, abs(mean)):  # equal but for rounding
        return 0.0
    z = (values - mean) / spread
    edge = EDGE * spread if repo_compat else EDGE
    inside = z[np.abs(z) <= edge] if repo_compat else np.clip(z, -edge, edge)
    counts, _ = np.histogram(inside, bins=bins, range=(-edge, edge))
    shares = [int(n) / len(inside) for n in sorted(counts) if n]
    return abs(math.fsum(p * math.log2(p) for p in shares))


def equal_budgets(sizes: Sequence[int], budget: int, ceil: bool = False) -> list[int]:
    """Rows of each cluster by water-filling. `ceil`: as the paper's code, where the smallest cluster can give its share all give
    ceil(budget / clusters), so that up to clusters - 1 more rows are chosen than the budget."""
    if ceil and sizes and min(sizes) * len(sizes) >= budget:
        return [-(-budget // len(sizes))] * len(sizes)
    return water_fill(sizes, budget)


def spread_budgets(groups: Sequence[np.ndarray], budget: int) -> list[int]:
    """Rows of each cluster in proportion to the standard deviation of its scores, none above its size."""
    return _weighted([deviation(values)[1] for values in groups], [len(values) for values in groups], budget)


def distance_budgets(vectors: Sequence[np.ndarray], budget: int) -> list[int]:
    """Rows of each cluster in proportion to the mean distance of its vectors (n, d) to their centroid times the mean distance
    of that centroid to the others: wide, lonely clusters give more. A single cluster gives all it can."""
    centroids = [np.array([math.fsum(column) for column in group.T]) / len(group) for group in vectors]
    own = [_mean([_distance(row, center) for row in group]) for group, center in zip(vectors, centroids, strict=True)]
    away = [_mean([_distance(center, other) for j, other in enumerate(centroids) if j != i]) for i, center in enumerate(centroids)]
    weights = [a * b for a, b in zip(own, away, strict=True)] if len(vectors) > 1 else [1.0]
    return _weighted(weights, [len(group) for group in vectors], budget)


def stratified(scores: np.ndarray, lot: np.ndarray, budget: int, bins: int = 50, trim: float = 0.05) -> list[int]:
    """Rows picked from equal-width bins of (n,) scores, in the order of picking: all of them where `budget` reaches n.

    The floor(trim n) lowest and highest rows are cut off first, as far as `budget` lets them go. From the bin of the highest
    scores down each gives ceil(left / bins left); what short bins could not give is asked of the others in further passes.
    Inside a bin rows are picked by `lot` (n,), any numbers; ties of scores by row.
    """
    order = np.lexsort((np.arange(len(scores)), scores))
    cut = min(math.floor(trim * len(scores)), max(0, (len(scores) - budget) // 2))
    kept = order[cut : len(order) - cut] if cut else order
    members = _bins(scores, kept, bins)
    queues = [sorted(rows, key=lambda i: (lot[i], i)) for rows in members]
    picked: list[int] = []
    left = min(budget, len(kept))
    while left:
        open_ = [queue for queue in queues if queue]
        for place, queue in enumerate(open_):
            quota = min(len(queue), -(-left // (len(open_) - place)))
            picked += queue[:quota]
            del queue[:quota]
            left -= quota
    return picked


def _bins(scores: np.ndarray, rows: np.ndarray, bins: int) -> list[list[int]]:
    """Rows by bin, that of the highest scores first."""
    low, high = float(scores[rows[0]]), float(scores[rows[-1]])
    place = np.zeros(len(rows), dtype=np.int64)
    if high > low:
        place = np.minimum(((high - scores[rows]) / (high - low) * bins).astype(np.int64), bins - 1)
    return [rows[place == one].tolist() for one in np.unique(place)]


def _weighted(weights: Sequence[float], sizes: Sequence[int], budget: int) -> list[int]:
    if any(not math.isfinite(weight) for weight in weights):
        raise StepError("cluster budgets: a score or a vector is not finite", hint="leave such candidates out in the SQL")
    if not any(weights):
        return water_fill(sizes, budget)  # nothing to tell clusters apart by
    # weights of 1e-16 are rounding of constant scores; a cluster of constant scores still counts when the others are full
    counts = allocate(weights, sizes, budget)
    rest = water_fill([size - n for size, n in zip(sizes, counts, strict=True)], budget - sum(counts))
    return [n + more for n, more in zip(counts, rest, strict=True)]


def _distance(left: np.ndarray, right: np.ndarray) -> float:
    return math.sqrt(math.fsum((left - right) ** 2))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
