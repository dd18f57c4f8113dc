"""How many clusters: as given, the square root of the items, or the best silhouette of some candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.cluster.kmeans import Clusters, distinct, kmeans
from engine.cluster.quality import sampled, silhouettes
from engine.errors import StepError
from engine.spec import Cluster


def clustered(entry: Cluster, vectors: np.ndarray, keys: np.ndarray, seed: int) -> tuple[Clusters, dict[str, Any]]:
    """Clusters of `vectors` (n, d) by the entry's rule, and what the rule decided, for the ledger.

    `keys` (uint64, one an item) draw the sample whose silhouettes are compared. `sqrt`: the nearest integer to the square root
    of the items, at most as many as there are different vectors. StepError where no number of clusters fits the vectors.
    """

    def made(k: int) -> Clusters:
        return kmeans(
            vectors,
            k,
            seed=seed,
            metric=entry.metric,
            iterations=entry.iterations,
            restarts=entry.restarts,
            train_rows=entry.train_rows,
        )

    if entry.rule == "fixed":
        assert entry.k is not None
        return made(entry.k), {"k": entry.k}
    most = min(distinct(vectors), entry.train_rows or len(vectors))
    if entry.rule == "sqrt":
        k = max(1, min(most, round(len(vectors) ** 0.5)))
        return made(k), {"k": k}
    fitting = sorted({k for k in entry.candidates if k <= most})
    if not fitting:
        text = f"cluster {entry.name}: no candidate of {list(entry.candidates)} clusters fits {most} different vectors"
        raise StepError(text, hint=f"add a candidate from 2 to {most}")
    rows, best, figures = sampled(keys), None, {}
    for k in fitting:
        found = made(k)
        figures[str(k)] = float(np.cumsum(silhouettes(vectors[rows], found.assignment[rows], entry.metric))[-1]) / len(rows)
        if best is None or figures[str(k)] > figures[str(len(best.centroids))]:  # of equally good ones the fewest clusters
            best = found
    assert best is not None
    left_out = {"too_many": sorted(set(entry.candidates) - set(fitting))} if len(fitting) < len(set(entry.candidates)) else {}
    return best, {"k": len(best.centroids), "candidates": figures, **left_out}
