"""Prunes a pool to a budget: of every cluster the rows that are least like the rows before them.

Source: the compressed pool of Maharana et al., "Adapt-infinity", arXiv 2410.10636 (code adymaharana/adapt-inf), which orders rows
by the similarities of SemDeDup (arXiv 2303.09540): M of a row is its largest cosine to an earlier row of its cluster. The first
row of a cluster has M = 0 and always stays while its cluster may keep one, so the result depends on the order of rows.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.allocate import water_fill
from engine.cluster.semdedup import semdedup
from engine.ids import canonical
from engine.select.budget import Budget
from engine.select.pickers import Picker, pickers
from engine.select.vectors import matrix


@pickers.register("redundancy")
class Redundancy(Picker):
    """Value: 1, 2, ... from the smallest M, null for what is pruned; detail of every candidate: JSON with cluster and M.

    `place`: the order of rows, by number, then by item id. Rows with `fresh` true (or not 0) are new: they are no part of the
    pool yet, count in no budget, and get no number; a pool of none prunes nothing. Clusters share the budget by water-filling.
    """

    needs: ClassVar[dict[str, str]] = {"cluster": "number", "vector": "vector", "place": "number", "fresh": "number"}
    Params = Budget

    def pick(self, rows: pa.Table, keys: np.ndarray) -> pa.Table:
        pool = np.flatnonzero(pc.equal(rows["fresh"].cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False))
        values: list[float | None] = [None] * rows.num_rows
        detail: list[str | None] = [None] * rows.num_rows
        if len(pool):
            cluster = rows["cluster"].cast(pa.int64()).to_numpy(zero_copy_only=False)[pool]
            place = rows["place"].cast(pa.float64()).to_numpy(zero_copy_only=False)[pool]
            # `easy` puts small distances first: here the rows' own order
            _, _, alike = semdedup(matrix(rows)[pool], cluster, place, 1.0, "easy", keys[pool])
            names = np.unique(cluster)
            members = [np.flatnonzero(cluster == one) for one in names]
            counts = water_fill([len(group) for group in members], self.params.of(len(pool)))
            kept: list[int] = []
            for group, count in zip(members, counts, strict=True):
                kept += sorted(group.tolist(), key=lambda i: (alike[i], place[i], i))[:count]
            for n, i in enumerate(sorted(kept, key=lambda i: (alike[i], place[i], i)), 1):
                values[pool[i]] = float(n)
            for i in range(len(pool)):
                detail[pool[i]] = canonical({"cluster": int(cluster[i]), "M": float(alike[i])})
        return pa.table({"item_id": rows["item_id"], "value": pa.array(values, pa.float64()), "detail": pa.array(detail, pa.string())})
