"""How well separated clusters are: silhouettes of a sample."""

from __future__ import annotations

import numpy as np

from engine.cluster.kmeans import Metric, normalised

SAMPLE = 1000  # items; the silhouette takes all their pairs


def sampled(keys: np.ndarray, count: int = SAMPLE) -> np.ndarray:
    """Positions of the items with the smallest `keys` (uint64, one an item), ascending: the same sample whatever k is tried."""
    return np.sort(np.argsort(keys, kind="stable")[:count])


def silhouettes(vectors: np.ndarray, assignment: np.ndarray, metric: Metric) -> np.ndarray:
    """Each item's silhouette, float64 (n,): (b - a) / max(a, b) of its mean distance a to the others of its own cluster and the
    smallest mean distance b to another cluster's items; 0 for the only item of a cluster, and for all where there is one cluster.

    Source: Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", 1987.
    """
    ids, place = np.unique(assignment, return_inverse=True)
    if len(ids) < 2:
        return np.zeros(len(vectors))
    member = (place[:, None] == np.arange(len(ids))[None, :]).astype(np.float64)
    sizes = member.sum(axis=0)
    totals = _distances(vectors, metric) @ member
    own = np.arange(len(place)), place
    inside = totals[own] / np.maximum(sizes[place] - 1, 1)
    outside = totals / sizes
    outside[own] = np.inf
    nearest = outside.min(axis=1)
    largest = np.maximum(inside, nearest)
    found = np.where(largest > 0, (nearest - inside) / np.where(largest > 0, largest, 1), 0.0)
    # twelve decimals: a product may be summed in another order on another number of threads
    return np.round(np.where(sizes[place] > 1, found, 0.0), 12)


def _distances(vectors: np.ndarray, metric: Metric) -> np.ndarray:
    points = (normalised(np.asarray(vectors, np.float32)) if metric == "cosine" else vectors).astype(np.float64)
    if metric == "cosine":
        found = np.maximum(0.0, 1.0 - points @ points.T)
    else:
        squares = np.einsum("ij,ij->i", points, points)
        found = np.sqrt(np.maximum(0.0, squares[:, None] + squares[None, :] - 2 * points @ points.T))
    np.fill_diagonal(found, 0.0)
    return found
