"""The rule `semantic`: of prompts with nearly the same vector one stays (SemDeDup).

Source: Abbas et al., "SemDeDup", arXiv 2303.09540: spherical k-means, then comparison inside each cluster; `engine.cluster` has both.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import SpecError
from engine.prompts.hygiene.rule import Drop, Row, Scene
from engine.prompts.hygiene.texts import asked
from engine.randomness import row_keys
from engine.spec import Semantic

ITERATIONS = 20


def check(settings: Semantic, scene: Scene) -> None:
    """SpecError for an embedder that cannot be used here, or for its settings."""
    from engine.cluster.embedders import embedders, params

    method = embedders.load(settings.embedder)
    if method.needs_model:
        hint = "the pool is cleaned before there is a policy: take another embedder"
        raise SpecError(f"prompts.hygiene.semantic.embedder: {settings.embedder!r} embeds with the policy", hint=hint)
    method.check(params(settings.embedder, settings.params, "prompts.hygiene.semantic.params"), scene.spec_path)


def fingerprint(settings: Semantic, spec_path: Path) -> dict[str, Any]:
    """JSON of what the vectors depend on."""
    from engine.cluster.embedders import embedders, params

    method = embedders.load(settings.embedder)
    given = params(settings.embedder, settings.params, "prompts.hygiene.semantic.params")
    return {"revision": method.revision, "settings": method.settings(given, spec_path)}


def semantic(rows: list[Row], settings: Semantic, scene: Scene) -> list[Drop]:
    """Drops rows that are alike to a row that comes earlier in the order of `keep`. `twin_id` is the row that stays at the end of the
    chain of likenesses, `value` the cosine similarity to the next row of that chain."""
    from engine.cluster.kmeans import kmeans
    from engine.cluster.semdedup import semdedup

    if len(rows) < 2:
        return []
    vectors = _vectors(rows, settings, scene)
    different = len({vector.tobytes() for vector in vectors})
    k = min(settings.clusters or max(round(math.sqrt(len(rows))), 1), different)
    clusters = kmeans(vectors, k, metric="cosine", iterations=ITERATIONS, seed=scene.seed)
    keys = row_keys(scene.seed, 0, "semdedup", (row["prompt_id"] for row in rows))
    drop, twin, similarity = semdedup(vectors, clusters.assignment, clusters.distances, settings.eps, settings.keep, keys)
    scene.detail["semantic"] = {"clusters": k, "largest": int(clusters.sizes.max())}
    drops = []
    for index in np.flatnonzero(drop):
        last = int(twin[index])
        while drop[last]:
            last = int(twin[last])
        value = float(similarity[index])
        through = "" if last == twin[index] else f", alike to it through {rows[twin[index]]['prompt_id']}"
        drops.append(
            Drop(
                int(index),
                f"cosine similarity {value:.4f} in cluster {clusters.assignment[index]}{through}",
                value,
                rows[last]["prompt_id"],
            )
        )
    return drops


def _vectors(rows: list[Row], settings: Semantic, scene: Scene) -> np.ndarray:
    from engine.cluster.embedders import embedders, params

    method = embedders.load(settings.embedder)
    given = params(settings.embedder, settings.params, "prompts.hygiene.semantic.params")
    embedder = method(given, scene.spec_path, None, scene.device)
    scene.progress.begin("embeddings", len(rows), unit="prompts")
    made = []
    for start in range(0, len(rows), method.batch):
        batch = [asked(row) for row in rows[start : start + method.batch]]
        made.append(embedder.embed(batch))
        scene.progress.advance(len(batch))
    return np.concatenate(made)
