"""The rows of `clusters` and `cluster_stats`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine import tables
from engine.cluster.embed import column
from engine.cluster.items import Items
from engine.cluster.kmeans import Clusters
from engine.cluster.labels import labels
from engine.cluster.quality import sampled, silhouettes
from engine.errors import StepError


@dataclass(frozen=True)
class Described:
    """Clusters with the ids (k,) they go by, and the shift (k,) of each since the round before, NaN where there is none."""

    clusters: Clusters
    ids: np.ndarray
    shift: np.ndarray


def item_rows(found: Described, items: Items) -> pa.Table:
    """A row of `clusters` for each item, in order of the ids. StepError where items and clusters do not match in number."""
    made = found.clusters
    if len(made.assignment) != len(items.ids):
        raise StepError(f"clusters: {len(items.ids)} items in, {len(made.assignment)} assigned")
    columns = {"item_id": items.ids, "cluster_id": found.ids[made.assignment], "distance": made.distances}
    return tables.check("clusters", pa.table(columns))


def stat_rows(
    found: Described, items: Items, vectors: np.ndarray, keys: np.ndarray, model: str, scores: np.ndarray | None
) -> tuple[pa.Table, dict[str, float | str]]:
    """A row of `cluster_stats` for each cluster, in order of the ids, and figures for the ledger.

    `scores` float64, one an item, NaN where it has none; without them mean_score is null. A cluster without an item has size 0
    and neither label nor distance.
    """
    made, k = found.clusters, len(found.ids)
    rows = sampled(keys)
    each = silhouettes(vectors[rows], made.assignment[rows], made.metric)
    columns = {
        "cluster_id": pa.array(found.ids),
        "size": pa.array(made.sizes),
        "weight": pa.array(made.sizes / len(items.ids)),
        "mean_score": _mean(scores, made.assignment, k) if scores is not None else pa.nulls(k, pa.float64()),
        "label": pa.array(labels(items.texts, made.assignment.tolist(), k), pa.string()),
        "silhouette": _mean(each, made.assignment[rows], k),
        "distance": _mean(made.distances, made.assignment, k),
        "shift": pa.array(found.shift, from_pandas=True),
        "centroid": column(made.centroids),
        "model": pa.repeat(model, k),
    }
    figures: dict[str, float | str] = {
        "silhouette": float(np.cumsum(each)[-1]) / len(rows),
        "silhouette_sample": len(rows),
        "objective": made.objective,
        "empty": made.empty,
        "trained_on": made.trained_on,
        "start": made.start,
    }
    return tables.check("cluster_stats", pa.table(columns).sort_by("cluster_id")), figures


def _mean(values: np.ndarray, assignment: np.ndarray, k: int) -> pa.Array:
    """Means of the values that are numbers by cluster, null for a cluster without one; added one after another."""
    known = ~np.isnan(values)
    counts = np.bincount(assignment[known], minlength=k)
    totals = np.bincount(assignment[known], weights=values[known], minlength=k)
    return pa.array(np.where(counts > 0, totals / np.maximum(counts, 1), np.nan), from_pandas=True)
