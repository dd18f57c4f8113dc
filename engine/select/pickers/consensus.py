"""Of several answers to a prompt the one that the others agree with, or none where they do not.

Source: Lee et al., "Ensemble-Instruct: Generating Instruction-Tuning Data with a Heterogeneous Mixture of LMs", EMNLP Findings
2023; code IBM/ensemble-instruct, ensemble_output.py. Its rule for three answers, here for any number from two up:
1. the largest set of equal answers (case and punctuation aside) has two or more: its first answer is picked;
2. else, where the least similar pair has more than `min_pair`, the medoid: the answer with the largest sum of similarities;
3. else none. Ties go to the earlier answer. Unlike there, answers without a letter or digit are never equal to each other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from engine.ids import canonical
from engine.params import Params
from engine.select.pickers import Picker, pickers
from engine.similarity import normalised, rouge_l, words


class ConsensusParams(Params):
    """What agreement is."""

    similarity: Literal["rouge_l", "exact"] = Field("rouge_l", description="rouge_l: F of Rouge-L; exact: only equal answers agree")
    stem: bool = Field(True, description="Rouge-L compares words without their English endings")
    min_pair: float = Field(0.01, ge=0, le=1, description="every pair must be more similar than this, else there is no medoid")
    medoid: bool = Field(True, description="take the medoid where no two answers are equal")
    min_answers: int = Field(2, ge=2, description="a group of fewer answers has no consensus")


class Agreed(NamedTuple):
    """Which answer (its place, None: none), by which rule, and the numbers behind it."""

    place: int | None
    rule: Literal["equal", "medoid", "too far apart", "too few"]
    equal: int = 0
    least: float | None = None
    total: float | None = None


@pickers.register("consensus")
class Consensus(Picker):
    """Value: 1 for the answer picked of each group; detail of every candidate: JSON with the group's rule and numbers."""

    needs: ClassVar[dict[str, str]] = {"response": "text", "group": "text", "place": "number"}
    Params = ConsensusParams

    def pick(self, rows: pa.Table, keys: np.ndarray) -> pa.Table:
        """`group`: answers that are compared; `place`: their order, which breaks ties (then the item's id does)."""
        texts, places, members = rows["response"].to_pylist(), rows["place"].to_pylist(), dict[str, list[int]]()
        for i, name in enumerate(rows["group"].to_pylist()):
            members.setdefault(name, []).append(i)
        values: list[float | None] = [None] * rows.num_rows
        detail: list[str] = [""] * rows.num_rows
        for group in members.values():
            group.sort(key=lambda i: (places[i], i))
            found = consensus([texts[i] for i in group], self.params)
            told = canonical({"rule": found.rule, "answers": len(group), "equal": found.equal, "least": found.least, "total": found.total})
            for i in group:
                detail[i] = told
            if found.place is not None:
                values[group[found.place]] = 1.0
        return pa.table({"item_id": rows["item_id"], "value": pa.array(values, pa.float64()), "detail": pa.array(detail, pa.string())})


def consensus(texts: Sequence[str], params: ConsensusParams) -> Agreed:
    """The answer that the others agree with; `texts` in the order that breaks ties. Sums are rounded to 12 decimals."""
    if len(texts) < params.min_answers:
        return Agreed(None, "too few")
    plain = [normalised(text) for text in texts]
    counts = Counter(text for text in plain if text)
    most = max(counts.values(), default=0)
    if most > 1:
        return Agreed(next(i for i, text in enumerate(plain) if counts[text] == most), "equal", most)
    if params.similarity == "exact" or not params.medoid:
        return Agreed(None, "too far apart")
    given = [words(text, params.stem) for text in texts]
    pairs = [[1.0] * len(texts) for _ in texts]
    for i, left in enumerate(given):
        for j in range(i):
            pairs[i][j] = pairs[j][i] = rouge_l(left, given[j])
    least = min(pairs[i][j] for i in range(len(texts)) for j in range(i))
    if not least > params.min_pair:
        return Agreed(None, "too far apart", least=round(least, 12))
    sums = [round(math.fsum(row) - 1.0, 12) for row in pairs]
    best = max(range(len(texts)), key=lambda i: (sums[i], -i))
    return Agreed(best, "medoid", least=round(least, 12), total=sums[best])
