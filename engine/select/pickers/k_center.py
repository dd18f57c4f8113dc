"""Candidates that leave no other far away: greedy k-center.

Source: Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985 (at most twice the best radius); as core-set
selection: Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018. Each pick is
the row farthest from all rows picked before, so it gladly takes outliers: `trim` passes over the farthest ones.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from engine.select.budget import Budget
from engine.select.numbers import numbers
from engine.select.pickers import Picker, pickers
from engine.select.picks import picks
from engine.select.vectors import ROWS, Units, raw


class KCenterParams(Budget):
    """The budget, the first center, and the distance."""

    start: Literal["first", "score"] = Field("first", description="first center: the smallest item_id, or the highest `score`")
    metric: Literal["l2", "cosine"] = Field(
        "l2", description="distance; cosine: between the vectors at length 1, which orders as cosines do"
    )
    trim: float = Field(0.0, ge=0, lt=1, description="share of the rows left, the farthest, that a pick passes over, rounded down")


@pickers.register("k_center")
class KCenter(Picker):
    """Value: 1, 2, ... in the order of picking; detail of a picked row but the first: JSON with its distance to those before."""

    Params = KCenterParams

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.needs = {"vector": "vector"} | ({"score": "number"} if params.start == "score" else {})  # type: ignore[misc]

    def pick(self, rows: pa.Table, keys: np.ndarray) -> pa.Table:
        params: KCenterParams = self.params
        vectors = raw(rows)
        if params.metric == "cosine":
            units = Units(vectors)
            vectors = np.concatenate([units.rows(slice(s, s + ROWS)).astype(vectors.dtype) for s in range(0, len(units), ROWS)])
        first = int(np.argmax(numbers(rows, "score"))) if params.start == "score" else 0
        picked, distances = centers(vectors, first, params.of(rows.num_rows), params.trim)
        detail = {row: {"distance": distance} for row, distance in zip(picked[1:], distances[1:], strict=True)}
        return picks(rows, picked, detail)


def centers(vectors: np.ndarray, first: int, budget: int, trim: float = 0.0) -> tuple[list[int], list[float]]:
    """Rows of (n, d) in the order of picking from `first`, and the distance of each to the nearest before it (infinite: `first`).

    Ties to the smaller row. Products in the vectors' own precision tell which rows the new center may be nearer to; their
    distances are computed in float64, coordinate by coordinate, so equal vectors have distance 0 and threads change nothing.
    """
    squares = np.concatenate([(vectors[s : s + ROWS].astype(np.float64) ** 2).sum(axis=1) for s in range(0, len(vectors), ROWS)])
    error = 2 * (vectors.shape[1] + 8) * float(np.finfo(vectors.dtype).eps)
    nearest = np.full(len(vectors), np.inf)  # squared distance to the nearest center; -1: is a center
    picked, distances, share = [], [], Fraction(str(trim))
    row = first
    while True:
        picked.append(row)
        distances.append(math.sqrt(nearest[row]))
        nearest[row] = -1.0
        if len(picked) >= budget:
            return picked, distances
        sums = squares + squares[row]
        near = np.flatnonzero(sums * (1 - error) - 2.0 * (vectors @ vectors[row]) < nearest)
        center = vectors[row].astype(np.float64)
        for start in range(0, len(near), ROWS):
            some = near[start : start + ROWS]
            nearest[some] = np.minimum(nearest[some], ((vectors[some] - center) ** 2).sum(axis=1))
        row = _farthest(nearest, int(share * (len(vectors) - len(picked))))


def _farthest(nearest: np.ndarray, passed_over: int) -> int:
    """The row that is farthest once so many farther ones are left out; ties to the smaller row."""
    if not passed_over:
        return int(np.argmax(nearest))
    return int(np.argsort(-nearest, kind="stable")[passed_over])
