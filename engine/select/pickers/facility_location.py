"""Candidates that are good and that every other candidate has near: facility location with quality, QDIT.

Source: Bukharin et al., "Data Diversity Matters for Robust Instruction Tuning" (QDIT), arXiv 2311.14736. Rows A are picked one by
one to make (1 - alpha) d(A) + alpha q(A) large: d is the sum over all candidates of the largest cosine to a row of A, q their
quality. Where sources differ:
- q as the mean over A is the paper's objective: `quality: mean`; the greedy rule of the copy in for-ai/iterative-data-selection
  adds a row's own quality: `quality: own`. Under the mean a row's quality counts 1 / (rows picked + 1), so less and less;
- d as a sum grows with the candidates while q does not, so alpha must be near 1 to matter: `normalize: sum`; `mean` divides it
  by their number. There is no default: say which.
The copy computes every similarity again for every pick; here a row's gain, which only falls, is computed again only while it
could be the largest. Cosines are rounded to multiples of 2 ** -30, so that their sums are exact and ties are ties.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from engine.randomness import uniforms
from engine.select.budget import Budget
from engine.select.coverage import Covered
from engine.select.numbers import numbers
from engine.select.pickers import Picker, pickers
from engine.select.picks import picks
from engine.select.vectors import Units, raw


class FacilityParams(Budget):
    """The budget and the objective."""

    alpha: float = Field(..., ge=0, le=1, description="weight of quality; 1 - alpha is that of coverage")
    normalize: Literal["sum", "mean"] = Field(..., description="coverage as the sum over candidates, or their mean")
    quality: Literal["mean", "own"] = Field("mean", description="q of the rows picked: their mean, or what each adds is its own")
    sample: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="epsilon of stochastic greedy (Mirzasoleiman et al. 2015): each pick looks at n / budget ln(1 / epsilon) rows by lot",
    )


@pickers.register("facility_location")
class FacilityLocation(Picker):
    """Value: 1, 2, ... in the order of picking; detail of a picked row: JSON with what it adds to d (`coverage`).

    `score`: quality, on a scale like that of d; `vector`: one without length has cosine 0 to all.
    """

    needs: ClassVar[dict[str, str]] = {"score": "number", "vector": "vector"}
    Params = FacilityParams

    def pick(self, rows: pa.Table, keys: np.ndarray) -> pa.Table:
        params: FacilityParams = self.params
        covered, quality = Covered(Units(raw(rows))), numbers(rows, "score")
        scale = float(rows.num_rows) if params.normalize == "mean" else 1.0
        budget = params.of(rows.num_rows)
        looked_at = None if params.sample is None else math.ceil(rows.num_rows / budget * math.log(1 / params.sample))
        picked: list[int] = []
        gains: list[float] = []
        open_ = np.ones(rows.num_rows, dtype=bool)
        for turn in range(budget):
            weight = params.alpha / (turn + 1 if params.quality == "mean" else 1)
            among = open_
            if looked_at is not None and looked_at < rows.num_rows - turn:
                lot = np.where(open_, uniforms(keys, turn), 2.0)
                among = np.zeros_like(open_)
                among[np.argpartition(lot, looked_at - 1)[:looked_at]] = True
            row = covered.best(among, (1 - params.alpha) / scale, weight * quality)
            gains.append(covered.add(row) / scale)
            picked.append(row)
            open_[row] = False
        return picks(rows, picked, {row: {"coverage": gain} for row, gain in zip(picked, gains, strict=True)})
