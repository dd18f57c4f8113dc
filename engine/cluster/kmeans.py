"""K-means and nearest centroids through faiss, made so that the same vectors give the same clusters.

Source of the algorithm: Lloyd's iterations as faiss runs them (github.com/facebookresearch/faiss, `Clustering`): random rows
as first centroids, an empty cluster takes half of a big one. Two defaults of faiss are not kept: it trains on at most 256
items a cluster, drawn by itself (here on all, or on `train_rows` drawn by the row's own number), and it leaves vectors for
spherical k-means as they are (here they are normalised).

The same seed gives the same bits again, for any number of threads: threads share out rows and centroids, never the terms of
one sum. Other processors may round a float32 product otherwise; the last assignment is decided in float64, ties by id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from engine.errors import StepError
from engine.randomness import row_keys

Metric = Literal["l2", "cosine"]
Start = Literal["rows", "k-means++", "given"]
BLOCK = 2048  # rows that are held in float64 at a time
NEAR = 1e-5  # what float32 products can be wrong by, relative to the squared lengths that go into them


@dataclass(frozen=True)
class Clusters:
    """What k-means found; n items of d dimensions in k clusters.

    `assignment` int64 (n,): an item's cluster, 0 to k - 1. `distances` float64 (n,): to its centroid, Euclidean (not squared)
    for l2, 1 - cosine for cosine. `objective`: sum of squared l2 distances, or of cosine distances, over all items.
    `trained_on`: items that the centroids were made from. `start`: what the first centroids were: `rows`, `k-means++` or `given`.
    """

    centroids: np.ndarray
    assignment: np.ndarray
    distances: np.ndarray
    metric: Metric
    trained_on: int
    start: Start = "given"
    sizes: np.ndarray = field(init=False)
    objective: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", np.bincount(self.assignment, minlength=len(self.centroids)))
        costs = self.distances if self.metric == "cosine" else self.distances**2
        object.__setattr__(self, "objective", float(np.cumsum(costs)[-1]) if len(costs) else 0.0)

    @property
    def empty(self) -> int:
        """Clusters without an item."""
        return int((self.sizes == 0).sum())


def kmeans(
    vectors: np.ndarray,
    k: int,
    *,
    seed: int,
    metric: Metric = "l2",
    iterations: int = 20,
    restarts: int = 1,
    train_rows: int | None = None,
    init: np.ndarray | None = None,
) -> Clusters:
    """Clusters of `vectors` (float, shape (n, d)).

    `seed` any integer; `restarts` runs with other first centroids, the best is kept; `train_rows` at most that many items,
    drawn by seed and position, make the centroids; `init` (k, d) first centroids in place of random rows. A vector of length
    zero has cosine distance 1 to everything. Where a cluster ends without an item, which happens when many vectors are equal, it
    is done again from the first centroids of k-means++, which are never equal; what is empty then stays so: `Clusters.empty`.
    StepError for more clusters than different vectors, for NaN, and for shapes that do not fit.
    """
    data = _ready(vectors, metric)
    _check(data, k, train_rows, init)
    train = data if train_rows is None or train_rows >= len(data) else data[drawn(len(data), train_rows, seed)]

    def made(start: Start) -> Clusters:
        centroids = _trained(train, k, metric, seed, iterations, restarts, start, init)
        return Clusters(centroids, *assign(data, centroids, metric), metric, len(train), start)

    found = made("rows" if init is None else "given")
    if found.empty and (different := distinct(data)) < k:
        raise StepError(
            f"k-means: asked for {k} clusters of {len(data)} vectors, of which only {different} differ",
            hint=f"set k to {different} or less",
        )
    return made("k-means++") if found.empty and init is None else found


def assign(vectors: np.ndarray, centroids: np.ndarray, metric: Metric = "l2") -> tuple[np.ndarray, np.ndarray]:
    """(cluster int64, distance float64) of the centroid nearest to each vector; of equally near ones the smaller id."""
    import faiss

    data, targets = _ready(vectors, metric), np.ascontiguousarray(centroids, dtype=np.float32)
    if targets.ndim != 2 or targets.shape[1] != data.shape[1]:
        raise StepError(f"k-means: vectors have {data.shape[1]} dimensions, the centroids have shape {targets.shape}")
    if metric == "cosine":
        targets = normalised(targets)
    index = faiss.IndexFlatIP(data.shape[1]) if metric == "cosine" else faiss.IndexFlatL2(data.shape[1])
    index.add(targets)
    assignment, distances = np.zeros(len(data), dtype=np.int64), np.zeros(len(data), dtype=np.float64)
    exact = targets.astype(np.float64)
    largest = float(np.einsum("ij,ij->i", exact, exact).max())
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        gaps, found = index.search(block, min(2, len(targets)))
        rows, chosen = block.astype(np.float64), found[:, 0].copy()
        best = _distance(rows, exact[chosen], metric)
        # faiss compares in float32: where the two nearest are as near as its rounding, they are compared again
        scale = np.einsum("ij,ij->i", block, block) + largest
        close = np.flatnonzero(np.abs(gaps[:, -1] - gaps[:, 0]) <= NEAR * scale)
        second, other = found[close, -1], _distance(rows[close], exact[found[close, -1]], metric)
        better = (other < best[close]) | ((other == best[close]) & (second < chosen[close]))
        chosen[close[better]], best[close[better]] = second[better], other[better]
        assignment[start : start + BLOCK], distances[start : start + BLOCK] = chosen, best
    return assignment, distances


def normalised(vectors: np.ndarray) -> np.ndarray:
    """float32 rows of length 1; rows of length zero stay as they are. `vectors` itself where it is that already."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    if vectors.dtype == np.float32 and bool(np.all((np.abs(lengths - 1) < 1e-6) | (lengths == 0))):
        return vectors
    units = np.array(vectors, dtype=np.float32)
    units /= np.where(lengths > 0, lengths, 1).astype(np.float32)[:, None]
    return units


def drawn(n: int, count: int, seed: int) -> np.ndarray:
    """`count` of the positions 0 to n - 1, ascending: those whose draw by seed and position is smallest."""
    keys = row_keys(seed, 0, "kmeans", (str(i) for i in range(n)))
    return np.sort(np.argsort(keys, kind="stable")[:count])


def distinct(vectors: np.ndarray) -> int:
    """How many different rows there are."""
    return len({row.tobytes() for row in np.ascontiguousarray(vectors)})


def _ready(vectors: np.ndarray, metric: Metric) -> np.ndarray:
    data = np.ascontiguousarray(vectors, dtype=np.float32)
    if data.ndim != 2 or not data.shape[1]:
        raise StepError(f"k-means: expected vectors of shape (items, dimensions), found {data.shape}")
    return normalised(data) if metric == "cosine" else data


def _check(data: np.ndarray, k: int, train_rows: int | None, init: np.ndarray | None) -> None:
    if not 0 < k <= len(data):
        raise StepError(f"k-means: asked for {k} clusters of {len(data)} vectors", hint=f"set k from 1 to {len(data)}")
    if train_rows is not None and train_rows < k:
        raise StepError(f"k-means: {k} clusters cannot be trained on {train_rows} vectors", hint="raise train_rows or lower k")
    for start in range(0, len(data), BLOCK):
        bad = ~np.isfinite(data[start : start + BLOCK]).all(axis=1)
        if bad.any():
            raise StepError(f"k-means: vector {start + int(np.argmax(bad))} holds NaN or infinity", hint="look at the embeddings")
    if init is not None and init.shape != (k, data.shape[1]):
        raise StepError(f"k-means: expected first centroids of shape {(k, data.shape[1])}, found {init.shape}")


def _trained(
    train: np.ndarray, k: int, metric: Metric, seed: int, iterations: int, restarts: int, start: Start, init: np.ndarray | None
) -> np.ndarray:
    import faiss

    rows, plus = faiss.ClusteringInitMethod_RANDOM, faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
    model = faiss.Kmeans(
        train.shape[1],
        k,
        niter=iterations,
        nredo=restarts,
        seed=seed % (2**31 - 1),  # faiss takes a C int
        spherical=metric == "cosine",
        max_points_per_centroid=len(train) // k + 1,  # never subsamples by itself
        min_points_per_centroid=1,  # no warning on standard error: small clusters are the caller's choice
        init_method=plus if start == "k-means++" else rows,
        check_input_data_for_NaNs=False,  # done with a message of our own
    )
    model.train(train, init_centroids=None if init is None else np.ascontiguousarray(init, dtype=np.float32))
    return np.array(model.centroids, dtype=np.float32)


def _distance(rows: np.ndarray, targets: np.ndarray, metric: Metric) -> np.ndarray:
    """float64 (n,): row by row, in an order of sums that no batch or thread changes."""
    if metric == "cosine":
        return np.maximum(0.0, 1.0 - np.einsum("ij,ij->i", rows, targets))
    gaps = rows - targets
    return np.sqrt(np.einsum("ij,ij->i", gaps, gaps))
