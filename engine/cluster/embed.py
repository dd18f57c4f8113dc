"""Texts through an embedder: equal texts once, batches journaled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine import operators
from engine.cluster.embedders import Embedder, embedders, params
from engine.errors import StepError
from engine.ids import content_id
from engine.spec import Cluster
from engine.step import Context

KEY, TEXT, VECTOR = "key", "text", "vector"


class Embed:
    """Operator: rows of (key, text) to rows of (key, vector)."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """StepError for vectors that are not one a text, or not finite."""
        texts = batch.column(TEXT).to_pylist()
        vectors = self.embedder.embed(texts)
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise StepError(f"{self.embedder.name}: {len(texts)} texts in, vectors of shape {vectors.shape} out")
        if not np.isfinite(vectors).all():
            worst = texts[int(np.argmin(np.isfinite(vectors).all(axis=1)))]
            raise StepError(f"{self.embedder.name}: a vector holds NaN or infinity", where=f"text {worst[:60]!r}")
        return pa.record_batch({KEY: batch.column(KEY), VECTOR: column(vectors)})


def load(entry: Cluster, ctx: Context) -> Embedder:
    """The entry's embedder, with the policy where it needs one; it loads nothing before the first text."""
    method = embedders.load(entry.embedder)
    model = ctx.model("policy") if method.needs_model else None
    return method(params(entry.embedder, entry.params, "cluster.params"), ctx.spec_path, model, ctx.device)


def settings(entry: Cluster, spec_path: Path) -> dict[str, Any]:
    """JSON for the fingerprint: the embedder, its revision and its own settings."""
    method = embedders.load(entry.embedder)
    own = method.settings(params(entry.embedder, entry.params, "cluster.params"), spec_path)
    return {"embedder": entry.embedder, "embedder_revision": method.revision, "params": own}


def embedded(ctx: Context, embedder: Embedder, texts: Sequence[str], label: str) -> tuple[np.ndarray, int]:
    """(vectors float32 (texts, dimensions), how many texts were embedded: equal ones once).

    Long texts stand together, which matters where a batch is padded. StepError for two texts with one key.
    """
    keys = [content_id(text) for text in texts]
    once: dict[str, str] = {}
    for key, text in zip(keys, texts, strict=True):
        if once.setdefault(key, text) != text:
            raise StepError(f"{label}: two texts have the key {key}")
    rows = pa.table({KEY: pa.array(list(once), pa.string()), TEXT: pa.array(list(once.values()), pa.string())})
    pairs = list(once.items())
    order = sorted(range(len(pairs)), key=lambda place: (-len(pairs[place][1]), pairs[place][0]))
    made = operators.run(
        lambda: Embed(embedder),
        rows,
        key=KEY,
        batch=embedder.batch,
        journal=ctx.journal,
        progress=ctx.progress,
        label=label,
        order=order,
    )
    place = {key: row for row, key in enumerate(made[KEY].to_pylist())}
    return matrix(made[VECTOR])[[place[key] for key in keys]], len(once)


def column(vectors: np.ndarray) -> pa.ListArray:
    """Vectors (n, d) as the column `vector` of the table embeddings."""
    offsets = pa.array(np.arange(len(vectors) + 1, dtype=np.int64) * vectors.shape[1], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(vectors, np.float32).ravel(), pa.float32()))


def matrix(vectors: pa.ChunkedArray) -> np.ndarray:
    """The column `vector` (lists of equal length) as float32 (n, d). StepError for vectors of different lengths."""
    whole = vectors.combine_chunks()
    flat = whole.flatten().to_numpy(zero_copy_only=False)
    if len(whole) == 0 or len(flat) % len(whole) or np.any(np.diff(whole.offsets.to_numpy()) != len(flat) // len(whole)):
        raise StepError(f"expected vectors of one length, found {len(flat)} numbers in {len(whole)} vectors", hint="one model a part")
    return flat.reshape(len(whole), -1)
