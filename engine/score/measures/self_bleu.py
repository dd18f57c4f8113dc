"""Self-BLEU: how well the other answers of its prompt foretell an answer's words; 1 where they all say the same.

Source and what differs: engine/score/likeness/bleu.py. An answer of 100 words takes 0.3 to 0.6 ms, however many siblings it has
(benchmarks/likeness.py); the metric `self_bleu` gives the same number for held-out prompts.
"""

from __future__ import annotations

import pyarrow as pa
from pydantic import Field

from engine.params import Params
from engine.score.likeness.bleu import self_bleu
from engine.score.likeness.groups import by_prompt
from engine.score.measures import Measure, measures
from engine.step import Context


class SelfBleuParams(Params):
    """Which BLEU."""

    n: int = Field(4, gt=0, description="words of the longest n-gram; all lengths up to it count alike")
    most: int = Field(50, gt=1, description="answers of a prompt that are references, the first in order of samples")


@measures.register("self_bleu")
class SelfBleu(Measure):
    """Column <name>: BLEU of the answer against its siblings, 0 to 1; high is alike. Null where it has none."""

    Params = SelfBleuParams

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        texts = rows["response"].to_pylist()
        values: list[float | None] = [None] * len(texts)
        ctx.progress.begin("self-BLEU", len(texts))
        for group in by_prompt(rows).values():
            for i, value in zip(group, self_bleu([texts[i] for i in group], self.params.n, self.params.most), strict=True):
                values[i] = value
            ctx.progress.advance(len(group))
        ctx.progress.end()
        return {"": pa.table({"item_id": rows["generation_id"], "value": pa.array(values, pa.float64())})}
