"""How much an answer says the same as other answers: the mean METEOR with its siblings, or with answers to other prompts.

Source: the METEOR similarity of SuperHF (Mukobi et al., arXiv 2310.16763), its sign of mode collapse: the mean over ordered pairs of
METEOR(reference y_i, hypothesis y_j). The mean of this column over a prompt is that number for the prompt. There the pairs are of
different prompts, which `among: round` draws; a rise of it is boilerplate. An answer costs about 60 microseconds for each answer of
100 words that it is compared with (benchmarks/likeness.py): 60,000 answers with 7 siblings each take half a minute.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from engine.params import Params
from engine.randomness import row_keys, uniforms
from engine.score.likeness.groups import siblings
from engine.score.likeness.meteor import Words, meteor
from engine.score.measures import Measure, measures
from engine.step import Context


class SimilarityParams(Params):
    """Which answers are compared."""

    among: Literal["prompt", "round"] = Field("prompt", description="prompt: siblings; round: answers drawn from other prompts")
    most: int = Field(50, gt=0, description="answers that one is compared with, at most; of siblings the first in order of samples")
    stem: bool = Field(True, description="words with equal English stems match where equal words do not")


@measures.register("meteor_similarity")
class MeteorSimilarity(Measure):
    """Column <name>: mean METEOR of the answer (as hypothesis) with others (as references). Null where there is no other."""

    Params = SimilarityParams

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        words = Texts(rows["response"].to_pylist(), self.params.stem)
        partners = siblings(rows, self.params.most) if self.params.among == "prompt" else self._drawn(ctx, rows)
        values: list[float | None] = []
        ctx.progress.begin("METEOR similarity", rows.num_rows)
        for i, others in enumerate(partners):
            found = [words.meteor(other, i) for other in others]
            values.append(round(math.fsum(found) / len(found), 12) if found else None)
            ctx.progress.advance(1)
        ctx.progress.end()
        return {"": pa.table({"item_id": rows["generation_id"], "value": pa.array(values, pa.float64())})}

    def _drawn(self, ctx: Context, rows: pa.Table) -> list[list[int]]:
        """For each answer `most` draws, with replacement, from the answers to other prompts."""
        prompts, ids = rows["prompt_id"].to_pylist(), rows["generation_id"].to_pylist()
        order = sorted(range(len(ids)), key=lambda i: (prompts[i], ids[i]))
        spans: dict[str, tuple[int, int]] = {}
        for place, i in enumerate(order):
            spans[prompts[i]] = (spans.get(prompts[i], (place, 0))[0], place + 1)
        keys = row_keys(ctx.spec.seed, ctx.round, "meteor_similarity", ids)
        draws = np.stack([uniforms(keys, draw) for draw in range(self.params.most)], axis=1)
        found: list[list[int]] = []
        for i, prompt in enumerate(prompts):
            start, end = spans[prompt]
            rest = len(order) - (end - start)
            places = (draws[i] * rest).astype(int).tolist() if rest else []
            found.append([order[place if place < start else place + end - start] for place in places])
        return found


class Texts:
    """Answers by number; equal texts are looked at once, equal pairs of texts too."""

    def __init__(self, texts: list[str], stem: bool) -> None:
        made: dict[str, Words] = {}
        self.words = [made[text] if text in made else made.setdefault(text, Words(text, stem)) for text in texts]
        self._known: dict[tuple[int, int], float] = {}

    def meteor(self, reference: int, hypothesis: int) -> float:
        """METEOR of two answers."""
        left, right = self.words[reference], self.words[hypothesis]
        key = (id(left), id(right))
        if key not in self._known:
            self._known[key] = meteor(left, right)
        return self._known[key]
