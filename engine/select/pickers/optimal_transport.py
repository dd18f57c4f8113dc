"""Candidates that pull the pool towards a target sample: GOT-D.

Source: Kang et al., "Get more for less: Principled Data Selection for Warming Up Fine-Tuning in LLMs", arXiv 2405.02774: the
gradient of the transport cost between pool and target with respect to a row's mass is its calibrated dual potential; the most
negative rows reduce it most. Entropic transport of squared Euclidean distances between uniform samples. The paper's code is not
public; that of its forerunner LAVA (ruoxi-jia-group/LAVA) solves the debiased problem: `debiased: true`.

A row whose `target` is true (or not 0) is the target sample; it is never picked. A pool larger than `chunk` is cut by lot into
chunks that are solved one by one, each giving its share of the budget.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from engine.allocate import largest_remainder
from engine.errors import StepError
from engine.ids import canonical
from engine.randomness import uniforms
from engine.select import sinkhorn
from engine.select.budget import Budget
from engine.select.pickers import Picker, pickers
from engine.select.vectors import matrix

DECIMALS = 6  # of a gradient; the solution is not exact, so rows whose gradients agree that far are ranked by their ids


class TransportParams(Budget):
    """The budget and the transport problem."""

    epsilon: float = Field(0.1, gt=0, description="strength of the entropy, in units of squared distance")
    iterations: int = Field(5000, gt=0, description="most Sinkhorn iterations; fewer than are needed is an error")
    debiased: bool = Field(False, description="take off the pool's potential with itself (Sinkhorn divergence), as LAVA does")
    chunk: int = Field(10_000, gt=1, description="most candidates that are solved together: memory is chunk times target rows")


@pickers.register("optimal_transport")
class OptimalTransport(Picker):
    """Value: 1, 2, ... from the most negative gradient; detail of every candidate: JSON with gradient, epsilon, marginal_error."""

    needs: ClassVar[dict[str, str]] = {"vector": "vector", "target": "number"}
    Params = TransportParams

    def pick(self, rows: pa.Table, keys: np.ndarray) -> pa.Table:
        target = pc.not_equal(rows["target"].cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False)
        pool = np.flatnonzero(~target)
        if not target.any() or not len(pool):
            raise StepError(
                f"optimal transport: {int(target.sum())} target rows and {len(pool)} candidates; both are needed",
                hint="the column `target` of the SQL says which rows are the target sample",
            )
        vectors = matrix(rows)
        chunks = self._chunks(pool, keys)
        counts = largest_remainder([len(chunk) for chunk in chunks], self.params.of(len(pool)))
        gradient = np.zeros(rows.num_rows)
        detail: list[str | None] = [None] * rows.num_rows
        picked: list[int] = []
        for chunk, count in zip(chunks, counts, strict=True):
            gradient[chunk], error = self._gradients(vectors[chunk], vectors[target])
            picked += sorted(chunk.tolist(), key=lambda i: (gradient[i], i))[:count]
            for i in chunk.tolist():
                detail[i] = canonical({"gradient": gradient[i], "epsilon": self.params.epsilon, "marginal_error": error})
        position = {row: n for n, row in enumerate(sorted(picked, key=lambda i: (gradient[i], i)), 1)}
        values = pa.array([position.get(i) for i in range(rows.num_rows)], pa.float64())
        return pa.table({"item_id": rows["item_id"], "value": values, "detail": pa.array(detail, pa.string())})

    def _chunks(self, pool: np.ndarray, keys: np.ndarray) -> list[np.ndarray]:
        """The pool cut by lot into as few parts as `chunk` allows, sizes within one row; rows in order of their ids."""
        parts = -(-len(pool) // self.params.chunk)
        order = pool[np.argsort(uniforms(keys[pool], 0), kind="stable")]
        return [np.sort(part) for part in np.array_split(order, parts)]

    def _gradients(self, pool: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
        """Calibrated gradients (rounded) and the marginal error that was reached."""
        params: TransportParams = self.params
        found = sinkhorn.transport(sinkhorn.squared_distances(pool, target), params.epsilon, params.iterations)
        f, error = found.f, found.error
        if params.debiased:
            own = sinkhorn.to_itself(sinkhorn.squared_distances(pool, pool), params.epsilon, params.iterations)
            f, error = f - own.f, max(error, own.error)
        return np.round(sinkhorn.calibrated(f), DECIMALS) + 0.0, float(f"{error:.1e}")
