"""The steps of the cluster room: for each entry of `cluster` one that embeds its items and one that clusters them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine import tables
from engine.cluster import embed, items
from engine.cluster.choose import clustered
from engine.cluster.embedders import embedders
from engine.cluster.history import earlier, first
from engine.cluster.items import Items
from engine.cluster.kmeans import Clusters, assign
from engine.cluster.match import matched
from engine.cluster.stats import Described, item_rows, stat_rows
from engine.ids import digest
from engine.randomness import row_keys
from engine.spec import Cluster, Spec
from engine.step import Context, Output, Ref, Step

RULES = ("k", "rule", "candidates", "metric", "iterations", "restarts", "train_rows", "fit")
SCORES = Ref("scores", "rollout/score")


class _Entry(Step):
    """What both steps share: the entry of the spec, by name."""

    def __init__(self, entry: Cluster) -> None:
        self.entry, self.part = entry, entry.name

    def _source(self, spec: Spec) -> list[Ref]:
        """Where texts come from that are embedded in this step."""
        policy = [Ref("policy")] if embedders.load(self.entry.embedder).needs_model else []
        return [*policy, *items.reads(self.entry, spec)]


class Embeddings(_Entry):
    """A vector of each of the round's prompts or rollouts."""

    table = "embeddings"

    def __init__(self, entry: Cluster) -> None:
        super().__init__(entry)
        self.name, self.on_device = f"embeddings_{entry.name}", embedders.load(entry.embedder).on_device

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return self._source(spec)

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return embed.settings(self.entry, spec_path)

    def run(self, ctx: Context) -> Output:
        found, embedder = items.items(ctx, self.entry), embed.load(self.entry, ctx)
        vectors, once = embed.embedded(ctx, embedder, found.texts, self.name)
        n = len(found.ids)
        columns = {"item_id": pa.array(found.ids, pa.string()), "model": pa.repeat(embedder.name, n), "vector": embed.column(vectors)}
        rows = tables.check("embeddings", pa.table(columns))
        return Output({("embeddings", self.part): rows}, n, {"embedded_once": once, "dimensions": vectors.shape[1]})


class ClusterItems(_Entry):
    """K-means over the items' vectors. The vectors of a pool, which no round owns, are made here and not stored."""

    table = "clusters"

    def __init__(self, entry: Cluster) -> None:
        super().__init__(entry)
        self.name = f"clusters_{entry.name}"
        self.on_device = entry.of == "pool" and embedders.load(entry.embedder).on_device

    def writes(self) -> list[tuple[str, str]]:
        return [("clusters", self.part), ("cluster_stats", self.part)]

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """Of a pool with `fit: round` nothing that differs by round, so that an unchanged pool is clustered once."""
        found = [*self._source(spec)] if self.entry.of == "pool" else [*items.reads(self.entry, spec), Ref("embeddings", self.part)]
        if self.entry.of != "pool" or self.entry.fit == "first":
            found.append(Ref("cluster_stats", self.part, "history"))
        return found + ([SCORES] if self._scored(spec) else [])

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {"of": self.entry.of, "name": self.part, "seed": spec.seed}
        found |= self.entry.model_dump(mode="json", include=set(RULES))
        pool = self.entry.of == "pool"
        return found | (embed.settings(self.entry, spec_path) | items.settings(self.entry, spec, spec_path) if pool else {})

    def run(self, ctx: Context) -> Output:
        import faiss

        faiss.omp_set_num_threads(ctx.device.threads)
        found = items.items(ctx, self.entry)
        vectors, model, detail = self._vectors(ctx, found)
        keys = row_keys(ctx.spec.seed, 0, self.name, found.ids)
        described, chosen = self._described(ctx, vectors, keys, model)
        stats, figures = stat_rows(described, found, vectors, keys, model, self._scores(ctx, found))
        rows = {("clusters", self.part): item_rows(described, found), ("cluster_stats", self.part): stats}
        return Output(rows, len(found.ids), detail | chosen | figures)

    def _vectors(self, ctx: Context, found: Items) -> tuple[np.ndarray, str, dict[str, Any]]:
        if self.entry.of == "pool":
            embedder = embed.load(self.entry, ctx)
            vectors, once = embed.embedded(ctx, embedder, found.texts, self.name)
            return vectors, embedder.name, {"embedded_once": once}
        rows = ctx.read(Ref("embeddings", self.part), ["item_id", "model", "vector"]).sort_by("item_id")
        items.same(found, rows["item_id"].to_pylist(), self.name)
        return embed.matrix(rows["vector"]), rows["model"][0].as_py(), {}

    def _described(self, ctx: Context, vectors: np.ndarray, keys: np.ndarray, model: str) -> tuple[Described, dict[str, Any]]:
        entry, seed = self.entry, int(digest(ctx.spec.seed, self.name)[:13], 16)
        reads_history = Ref("cluster_stats", self.part, "history") in self.reads(ctx.spec, ctx.round)
        past = ctx.read(Ref("cluster_stats", self.part, "history")) if reads_history else tables.empty("cluster_stats")
        fixed = first(past, self.name, model) if entry.fit == "first" else None
        if fixed is not None:
            assignment, distances = assign(vectors, fixed.centroids, entry.metric)
            made = Clusters(fixed.centroids, assignment, distances, entry.metric, 0)
            return Described(made, fixed.ids, np.zeros(len(fixed.ids))), {"k": len(fixed.ids), "centroids_of_round": fixed.round}
        made, detail = clustered(entry, vectors, keys, seed)
        before = earlier(past, model)
        if before is None:
            return Described(made, np.arange(len(made.centroids)), np.full(len(made.centroids), np.nan)), detail
        ids, shift = matched(made.centroids, before, entry.metric)
        return Described(made, ids, shift), detail | {"matched_to_round": before.round}

    def _scored(self, spec: Spec) -> bool:
        return self.entry.of == "generations" and bool(spec.score)

    def _scores(self, ctx: Context, found: Items) -> np.ndarray | None:
        """The combined score of each rollout."""
        if not self._scored(ctx.spec):
            return None
        rows = ctx.read(SCORES, ["item_id", "value"])
        value = dict(zip(rows["item_id"].to_pylist(), rows["value"].to_pylist(), strict=True))
        return np.array([value.get(item) for item in found.ids], dtype=np.float64)


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """The room's steps."""
    found: list[Step] = []
    for entry in spec.cluster:
        found += [Embeddings(entry)] if entry.of != "pool" else []
        found += [ClusterItems(entry)] if entry.k is not None or entry.rule != "fixed" else []
    return found
