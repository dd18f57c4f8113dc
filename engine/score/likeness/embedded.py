"""Vectors of answers for a measure: those of an entry of `cluster`, or an embedder's of the measure's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from engine.cluster import embed
from engine.cluster.embedders import embedders
from engine.errors import StepError
from engine.params import Params
from engine.spec import Cluster
from engine.step import POLICY, Context, Ref


class Embedding(Params):
    """Where vectors come from."""

    space: str | None = Field(
        None, description="entry of `cluster` with of: generations whose vectors are taken; none: `embedder` makes them"
    )
    embedder: str = Field("hashed_ngrams", description="method of engine/cluster/embedders, where there is no `space`")
    embedder_params: dict[str, Any] = Field({}, description="settings of the embedder's own")

    @property
    def entry(self) -> Cluster:
        """The embedder as an entry of `cluster`."""
        return Cluster(of="generations", embedder=self.embedder, params=self.embedder_params)

    @property
    def on_device(self) -> bool:
        """Whether it computes with torch."""
        return self.space is None and embedders.load(self.embedder).on_device

    def reads(self) -> list[Ref]:
        """What vectors are made of, beside the answers."""
        if self.space is not None:
            return [Ref("embeddings", self.space)]
        return [Ref(POLICY)] if embedders.load(self.embedder).needs_model else []

    def settings(self, spec_path: Path) -> dict[str, Any]:
        """JSON for the fingerprint."""
        return {} if self.space is not None else embed.settings(self.entry, spec_path)

    def check(self, spec_path: Path) -> None:
        """SpecError for settings or files that the embedder cannot use."""
        if self.space is None:
            embedders.load(self.embedder).check(embed.params(self.embedder, self.embedder_params, "params.embedder_params"), spec_path)

    def of_texts(self, ctx: Context, texts: Sequence[str], label: str) -> np.ndarray:
        """float32 (texts, d), by the embedder."""
        return embed.embedded(ctx, embed.load(self.entry, ctx), texts, label)[0]

    def of_rows(self, ctx: Context, rows: pa.Table, label: str) -> np.ndarray:
        """float32 (rows, d). StepError where an answer has no vector in `space`."""
        if self.space is None:
            return self.of_texts(ctx, rows["response"].to_pylist(), label)
        return stored(ctx.read(Ref("embeddings", self.space), ["item_id", "vector"]), rows["generation_id"], f"{label}: {self.space}")


def stored(vectors: pa.Table, items: pa.ChunkedArray, label: str) -> np.ndarray:
    """The vectors of items (rows of item_id, vector), in their order: float32 (items, d). StepError where one has none."""
    place = pc.index_in(items, value_set=vectors["item_id"].combine_chunks())
    if place.null_count:
        lost = items.filter(pc.is_null(place))[0].as_py()
        raise StepError(
            f"{label}: answer {lost} has no vector, as {place.null_count} of {len(items)}",
            hint="name an entry of `cluster` with of: generations, or leave `space` out",
        )
    return embed.matrix(vectors["vector"].take(place))
