"""In every cluster the scorer that tells its rows apart best: the one whose histogram has the highest entropy.

Source: Maharana et al., "Adapt-infinity", arXiv 2410.10636, "multi-way" selection; code adymaharana/adapt-inf. The code draws
the histogram's edges from the raw scores though the values are z-scored; `repo_compat: true` does that too.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from engine.errors import StepError
from engine.ids import canonical
from engine.params import Params
from engine.select.coreset import deviation, entropy
from engine.select.pickers import Picker, pickers
from engine.select.vectors import matrix


class EntropyParams(Params):
    """The histogram."""

    bins: int = Field(50, gt=1, description="bins of the histogram, between -4 and 4 standard deviations")
    repo_compat: bool = Field(False, description="edges of the paper's code, which lose scorers on a small scale")


@pickers.register("scorer_by_entropy")
class ScorerByEntropy(Picker):
    """Value of every candidate: its z-score under the scorer chosen for its cluster (0 where that is constant there); detail:
    JSON with the scorer and the entropies in bits.

    `scorers`: names, the same in every row; `scores`: the row's numbers in that order; ties go to the earlier scorer.
    """

    needs: ClassVar[dict[str, str]] = {"cluster": "number", "scorers": "texts", "scores": "vector"}
    Params = EntropyParams

    def pick(self, rows: pa.Table, keys: np.ndarray) -> pa.Table:
        names, table = _names(rows), matrix(rows, "scores")
        if table.shape[1] != len(names):
            raise StepError(f"scorer_by_entropy: {len(names)} scorers ({', '.join(names)}), {table.shape[1]} scores a row")
        cluster = rows["cluster"].cast(pa.int64()).to_numpy(zero_copy_only=False)
        values, detail = np.zeros(rows.num_rows), [""] * rows.num_rows
        for one in np.unique(cluster):
            members = np.flatnonzero(cluster == one)
            bits = [round(entropy(column, self.params.bins, self.params.repo_compat), 12) for column in table[members].T]
            best = max(range(len(names)), key=lambda i: (bits[i], -i))
            told = canonical({"scorer": names[best], "bits": dict(zip(names, bits, strict=True)), "cluster": int(one)})
            column = table[members, best]
            mean, spread = deviation(column)
            values[members] = (column - mean) / spread if bits[best] else 0.0
            for i in members:
                detail[i] = told
        return pa.table({"item_id": rows["item_id"], "value": values, "detail": detail})


def _names(rows: pa.Table) -> list[str]:
    """The scorers. StepError where rows name different ones."""
    lists = rows["scorers"].to_pylist()
    if len({tuple(names) for names in lists}) != 1 or not lists[0]:
        shown = sorted({", ".join(names) or "none" for names in lists})[:3]
        raise StepError(
            f"scorer_by_entropy: every candidate needs numbers of the same scorers, found {' | '.join(shown)}",
            hint="leave candidates without one of the numbers out in the SQL",
        )
    if pc.list_value_length(rows["scores"]).null_count or len(set(lists[0])) < len(lists[0]):
        raise StepError(f"scorer_by_entropy: a scorer stands twice in {lists[0]}")
    return list(lists[0])
