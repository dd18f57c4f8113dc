"""How far an answer is from its siblings by their vectors, and how many different answers a prompt seems to have (Vendi score).

Sources: 1 - mean pairwise cosine, the embedding diversity of the catalogue; Friedman and Dieng, "The Vendi Score", arXiv 2210.02410,
whose code normalises vectors as is done here. 60,000 vectors of 256 numbers take a second beside the embedder's time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from engine.score.likeness import vectors
from engine.score.likeness.embedded import Embedding
from engine.score.likeness.groups import by_prompt
from engine.score.measures import Measure, measures
from engine.spec import Spec
from engine.step import Context, Ref


class DiversityParams(Embedding):
    """Which vectors, and which entropy."""

    order: float = Field(
        1.0, gt=0, description="order of the entropy behind the Vendi score: 1 is Shannon's; large ones see the largest group"
    )


@measures.register("embedding_diversity")
class EmbeddingDiversity(Measure):
    """Columns <name>: 1 - mean cosine with the siblings, null where there is none; <name>_vendi: the prompt's Vendi score, from 1 to its
    number of answers, the same for each of them."""

    outputs = ("", "_vendi")
    Params = DiversityParams

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.on_device = params.on_device

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return self.params.reads()

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return self.params.settings(spec_path)

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        found = vectors.unit(self.params.of_rows(ctx, rows, "embedding_diversity"))
        apart: list[float | None] = [None] * rows.num_rows
        vendi: list[float | None] = [None] * rows.num_rows
        for group in by_prompt(rows).values():
            own = found[group]
            score = vectors.vendi(own, self.params.order)
            for i, value in zip(group, vectors.apart(own), strict=True):
                apart[i], vendi[i] = value, score
        columns = zip(self.outputs, (apart, vendi), strict=True)
        return {s: pa.table({"item_id": rows["generation_id"], "value": pa.array(v, pa.float64())}) for s, v in columns}
