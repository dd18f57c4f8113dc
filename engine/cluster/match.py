"""Cluster ids that keep their meaning: new centroids take the ids of the earlier ones that they lie next to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.cluster.kmeans import Metric, normalised


@dataclass(frozen=True)
class Earlier:
    """The clusters of an earlier round: their ids (k,), their centroids (k, d), the first id that was never used, the round."""

    ids: np.ndarray
    centroids: np.ndarray
    unused: int
    round: int


def matched(centroids: np.ndarray, earlier: Earlier, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """(id, shift) of each new centroid, int64 and float64 (k,).

    The matching with the smallest sum of distances (Hungarian method, scipy's linear_sum_assignment); shift is the distance to
    the earlier centroid, Euclidean for l2, 1 - cosine for cosine. A centroid without a partner, where k has grown, gets an id
    that no cluster had before and shift NaN.
    """
    from scipy.optimize import linear_sum_assignment

    gaps = _gaps(centroids, earlier.centroids, metric)
    new, old = linear_sum_assignment(gaps)
    ids, shift = np.full(len(centroids), -1, dtype=np.int64), np.full(len(centroids), np.nan)
    ids[new], shift[new] = earlier.ids[old], gaps[new, old]
    alone = np.flatnonzero(ids < 0)
    ids[alone] = earlier.unused + np.arange(len(alone))
    return ids, shift


def _gaps(one: np.ndarray, other: np.ndarray, metric: Metric) -> np.ndarray:
    if metric == "cosine":
        left, right = (normalised(np.asarray(side, np.float32)).astype(np.float64) for side in (one, other))
        return np.round(np.maximum(0.0, 1.0 - left @ right.T), 12)
    left, right = one.astype(np.float64), other.astype(np.float64)
    rows = [np.sqrt(np.einsum("ij,ij->i", row - right, row - right)) for row in left]
    return np.round(np.stack(rows), 12)
