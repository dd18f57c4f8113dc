"""The best candidates that are not too near to a better one: DEITA's score-first, diversity-aware selection.

Source: Liu et al., "What Makes Good Data for Alignment? A Comprehensive Study of Automatic Data Selection in Instruction Tuning"
(DEITA), ICLR 2024, arXiv 2312.15685; code hkust-nlp/deita. By falling score a row is kept where its cosine to every row kept
before is at most the threshold, until there are enough. The paper speaks of a distance; the code compares the cosine, as here.
Where paper and code differ: with a batch size above 1 the code also drops a row that is near to an earlier row of its batch
which was itself dropped: `repo_compat_batch`. Its sort leaves ties to chance; here they fall to the smaller item_id.

The score of DEITA is the sum over turns of complexity times quality, each an expected value over the six scores a scorer model
can say: SQL macros `deita_score` and `expected_score`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from engine.select.budget import Budget
from engine.select.numbers import numbers
from engine.select.pickers import Picker, pickers
from engine.select.picks import picks
from engine.select.vectors import Units, raw

BLOCK = 256  # rows whose cosines to the kept ones are computed together


class DeitaParams(Budget):
    """The budget and what too near means."""

    threshold: float = Field(0.9, ge=-1, le=1, description="a cosine above it (strictly) drops a row")
    repo_compat_batch: int = Field(1, gt=0, description="batch size of the paper's code; above 1 dropped batch mates drop rows too")


@pickers.register("deita")
class Deita(Picker):
    """Value: 1, 2, ... in the order of keeping; detail of a dropped row: JSON with the earliest kept item that it is near to.

    `score`: any numbers; `vector`: a vector without length is near to nothing. Fewer rows than the budget where all others drop.
    """

    needs: ClassVar[dict[str, str]] = {"score": "number", "vector": "vector"}
    Params = DeitaParams

    def pick(self, rows: pa.Table, keys: np.ndarray) -> pa.Table:
        params: DeitaParams = self.params
        order = np.argsort(-numbers(rows, "score"), kind="stable")
        kept, near = keep(Units(raw(rows)), order, params.of(rows.num_rows), params.threshold, params.repo_compat_batch)
        ids = rows["item_id"]
        return picks(rows, kept, {row: {"near": ids[other].as_py()} for row, other in near.items()})


def keep(
    units: Units, order: np.ndarray, budget: int, threshold: float, batch: int = 1, block: int = BLOCK
) -> tuple[list[int], dict[int, int]]:
    """(rows kept in order of keeping, for each dropped row the earliest that it is near to).

    Cosines come from float32 products, blocks of rows times all rows kept; one that is within float32's error of `threshold` is
    computed again in float64, so `block` changes the time taken and nothing else. `batch` above 1: as the paper's code.
    """
    kept: list[int] = []
    near: dict[int, int] = {}
    buffer = np.empty((min(budget, len(order)), units.vectors.shape[1]), dtype=np.float32)
    size = block if batch == 1 else batch
    # the code keeps the first row and counts batches from the second
    for start in [0, *range(1, len(order), size)]:
        rows = order[start : 1 if start == 0 else start + size]
        here, known = units.rows(rows).astype(np.float32), len(kept)
        before, mates = here @ buffer[:known].T, here @ here.T
        suspect = np.flatnonzero((before > threshold - units.noise).any(axis=1))
        hits = {int(i): np.flatnonzero(before[i] > threshold - units.noise) for i in suspect}
        alive: list[int] = []  # places in the block that later rows of it are compared with
        for place, row in enumerate(rows.tolist()):
            told = ((kept[j], before[place, j]) for j in hits.get(place, ()))
            other = _first(units, row, told, threshold)
            if other is None and alive:
                others = np.array(alive)
                found = others[mates[place, others] > threshold - units.noise]
                other = _first(units, row, ((int(rows[j]), mates[place, j]) for j in found), threshold)
            if other is None:
                buffer[len(kept)] = here[place]
                kept.append(row)
                if len(kept) == budget:
                    return kept, near
            else:
                near[row] = other
            if other is None or batch > 1:
                alive.append(place)
    return kept, near


def _first(units: Units, row: int, others: Iterable[tuple[int, float]], threshold: float) -> int | None:
    """The first of (row, float32 cosine) that is truly above the threshold."""
    for other, cosine in others:
        if cosine > threshold + units.noise or (cosine > threshold - units.noise and units.cosine(row, other) > threshold):
            return int(other)
    return None
