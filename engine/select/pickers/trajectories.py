"""Candidates from every cluster of loss trajectories alike, inside every source alike: S2L.

Source: Yang et al., "SmallToLarge (S2L): Scalable Data Selection for Fine-tuning Large Language Models by Summarizing Training
Trajectories of Small Models", arXiv 2403.07384; code BigML-CS-UCLA/S2L. The budget is shared out over sources by water-filling,
the smallest first; a source larger than its share is clustered by k-means on its trajectories, and its share is shared out over
the clusters in the same way; inside a cluster rows are drawn by lot. Where paper and code differ:
- the code's clustering is trained on 256 rows a cluster, which faiss draws: `train_rows: 25600`; here on all rows;
- its comments say largest first, it goes smallest first, as here;
- what clusters of more than two rows cannot fill is drawn from the others; the code stops with an error where those are too few,
  here all of them are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from engine.allocate import water_fill
from engine.cluster.kmeans import distinct, kmeans
from engine.ids import canonical
from engine.randomness import uniforms
from engine.select.budget import Budget
from engine.select.pickers import Picker, pickers
from engine.select.vectors import matrix


class TrajectoriesParams(Budget):
    """The budget and the clusters."""

    clusters: int = Field(100, gt=0, description="clusters of a source's trajectories; at most as many as differ")
    iterations: int = Field(20, gt=0, description="k-means iterations")
    train_rows: int | None = Field(None, gt=0, description="most rows that k-means is trained on; null: all; the paper's code: 25600")
    smallest: int = Field(3, gt=0, description="clusters of fewer rows give only what the others cannot")


@pickers.register("trajectories")
class Trajectories(Picker):
    """Value: 1, 2, ... in the order of picking; detail of every candidate: JSON with its cluster (null where none was needed)."""

    needs: ClassVar[dict[str, str]] = {"vector": "vector", "source": "text"}
    Params = TrajectoriesParams

    def pick(self, rows: pa.Table, keys: np.ndarray) -> pa.Table:
        params: TrajectoriesParams = self.params
        sources = rows["source"].to_pylist()
        members = [np.array([i for i, own in enumerate(sources) if own == name]) for name in sorted(set(sources))]
        shares = water_fill([len(group) for group in members], params.of(len(sources)))
        vectors, order = matrix(rows), np.argsort(uniforms(keys, 0), kind="stable")
        lot = np.empty(len(order), dtype=np.int64)
        lot[order] = np.arange(len(order))
        picked: list[int] = []
        cluster = np.full(len(sources), -1)
        for place in sorted(range(len(members)), key=lambda i: (len(members[i]), i)):
            group, share = members[place], shares[place]
            if share == len(group):
                picked += sorted(group.tolist(), key=lambda i: lot[i])
            elif share:
                cluster[group] = self._clusters(vectors[group], keys[group])
                picked += [int(group[i]) for i in draw(cluster[group], lot[group], share, params.smallest)]
        position = {row: n for n, row in enumerate(picked, 1)}
        return pa.table(
            {
                "item_id": rows["item_id"],
                "value": pa.array([position.get(i) for i in range(len(sources))], pa.float64()),
                "detail": [canonical({"cluster": int(c) if c >= 0 else None}) for c in cluster],
            }
        )

    def _clusters(self, vectors: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """The cluster of each trajectory; the first centroids follow from the rows' own streams of draws."""
        params: TrajectoriesParams = self.params
        data = vectors.astype(np.float32)
        k = min(params.clusters, distinct(data), params.train_rows or len(data))
        seed = int(np.bitwise_xor.reduce(keys) >> np.uint64(33))
        return kmeans(data, k, seed=seed, iterations=params.iterations, train_rows=params.train_rows).assignment


def draw(cluster: np.ndarray, lot: np.ndarray, share: int, smallest: int) -> list[int]:
    """`share` of the rows: water-filled over clusters of at least `smallest` rows, by lot inside; then by lot from the others.

    `cluster` (n,) and `lot` (n,), the rows' places in a random order. Fewer than `share` only where there are fewer rows.
    """
    members = [np.flatnonzero(cluster == one) for one in np.unique(cluster)]
    members = [group[np.argsort(lot[group])] for group in members]
    large = sorted((group for group in members if len(group) >= smallest), key=len)
    counts: Sequence[int] = water_fill([len(group) for group in large], share)
    picked = [int(row) for group, count in zip(large, counts, strict=True) for row in group[:count]]
    small = [int(row) for group in members if len(group) < smallest for row in group]
    return picked + sorted(small, key=lambda row: lot[row])[: share - len(picked)]
