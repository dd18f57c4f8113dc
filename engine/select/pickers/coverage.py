"""Candidates from all ranges of a score, cluster by cluster: coverage-centric coreset selection (CCS).

Source: Zheng et al., "Coverage-centric Coreset Selection for High Pruning Rates", ICLR 2023, inside clusters as in Maharana et
al., "Adapt-infinity", arXiv 2410.10636 (code adymaharana/adapt-inf): clusters share the budget, the tails of a cluster's scores
are cut, and equal-width bins give equally many rows, drawn by lot.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from engine.ids import canonical
from engine.randomness import uniforms
from engine.select.budget import Budget
from engine.select.coreset import distance_budgets, equal_budgets, spread_budgets, stratified
from engine.select.numbers import numbers
from engine.select.pickers import Picker, pickers
from engine.select.vectors import matrix


class CoverageParams(Budget):
    """The budget, how clusters share it, and the bins."""

    allocate: Literal["equal", "equal_ceil", "spread", "distance"] = Field(
        "equal",
        description="rows of a cluster: equal (water-filling), equal_ceil (the paper's code: up to clusters - 1 rows over the budget), "
        "spread (by the standard deviation of the column `spread`), distance (by distances of the column `vector`)",
    )
    bins: int = Field(50, gt=0, description="equal-width bins of a cluster's scores")
    trim: float = Field(0.05, ge=0, lt=0.5, description="share of a cluster's rows that is cut off at either end")


@pickers.register("coverage")
class Coverage(Picker):
    """Value: 1, 2, ... in the order of picking, cluster by cluster; detail of every candidate: JSON with cluster and its quota."""

    Params = CoverageParams

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        also = {"spread": {"spread": "number"}, "distance": {"vector": "vector"}}.get(params.allocate, {})
        self.needs = {"cluster": "number", "score": "number"} | also  # type: ignore[misc]

    def pick(self, rows: pa.Table, keys: np.ndarray) -> pa.Table:
        cluster = rows["cluster"].cast(pa.int64()).to_numpy(zero_copy_only=False)
        names = np.unique(cluster)
        members = [np.flatnonzero(cluster == one) for one in names]
        scores, lot = numbers(rows, "score"), uniforms(keys, 0)
        quotas = self._quotas(rows, members)
        picked: list[int] = []
        detail = [""] * rows.num_rows
        for one, group, quota in zip(names, members, quotas, strict=True):
            chosen = stratified(scores[group], lot[group], quota, self.params.bins, self.params.trim)
            picked += [int(group[i]) for i in chosen]
            told = canonical({"cluster": int(one), "size": len(group), "quota": quota})
            for i in group:
                detail[i] = told
        position = {row: n for n, row in enumerate(picked, 1)}
        values = pa.array([position.get(i) for i in range(rows.num_rows)], pa.float64())
        return pa.table({"item_id": rows["item_id"], "value": values, "detail": detail})

    def _quotas(self, rows: pa.Table, members: list[np.ndarray]) -> list[int]:
        params: CoverageParams = self.params
        budget, sizes = params.of(rows.num_rows), [len(group) for group in members]
        if params.allocate == "spread":
            spread = numbers(rows, "spread")
            return spread_budgets([spread[group] for group in members], budget)
        if params.allocate == "distance":
            vectors = matrix(rows)
            return distance_budgets([vectors[group] for group in members], budget)
        return equal_budgets(sizes, budget, ceil=params.allocate == "equal_ceil")
