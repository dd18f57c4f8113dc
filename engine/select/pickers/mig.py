"""Candidates that add most to what the labels of a pool already cover: MIG.

Source: Chen et al., "MIG: Automatic Data Selection for Instruction Tuning by Maximizing Information Gain in Semantic Space",
arXiv 2504.13835; code yichengchen24/MIG. A row knows its score at each of its labels; labels whose names are similar share it;
the rows picked have the largest sum over labels of phi(sum of what they know), phi concave. Rows are picked one by one:
- the objective's own increment is `gain: exact`; the code takes its gradient, which needs no second evaluation of phi and which
  the published figures are of: `gain: gradient`. A row that would fill one label alone is rated higher by the gradient;
- a score counts whole at every label; the code's class divides it by their number, its command line does not: `norm`;
- propagation makes the columns of the similarity matrix sum to 1, as the code does; `normalize: row` keeps a row's own sum.
The code looks at every row again for every pick and adds in float32; here only rows that can still be best are looked at, in
float64, and gains that agree to 1e-10 are ties. Rows without labels, or with a score of 0, add nothing and come last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from engine.cluster.embedders import embedders
from engine.cluster.embedders import params as embedder_params
from engine.errors import SpecError, StepError
from engine.select import label_graph
from engine.select.budget import Budget
from engine.select.information import Known, Phi, greedy
from engine.select.numbers import numbers
from engine.select.pickers import Picker, pickers
from engine.select.picks import picks
from engine.select.vectors import whole


class MigParams(Budget):
    """The budget, the information of a label, and how labels share it."""

    phi: Literal["pow", "exp"] = Field("pow", description="(x + a) ** b, or 1 - exp(-alpha x)")
    a: float = Field(1e-6, gt=0, description="of `pow`; scores should be far above it")
    b: float = Field(0.8, gt=0, lt=1, description="of `pow`; smaller: more diverse")
    alpha: float = Field(1.0, gt=0, description="of `exp`; scores far above 1 / alpha fill a label at once")
    gain: Literal["gradient", "exact"] = Field("gradient", description="first-order gain as in the code, or the objective's own increment")
    norm: bool = Field(False, description="divide a row's score by the number of its labels")
    similarity: float = Field(0.9, gt=0, le=1, description="cosine from which two labels share")
    prop_weight: float = Field(1.0, ge=0, description="weight of sharing; 0: labels share nothing, and are not embedded")
    normalize: Literal["column", "row"] = Field("column", description="what sums to 1 in the propagation matrix")
    embedder: str = Field("hashed_ngrams", description="of labels: method of engine/cluster/embedders that needs no policy")
    embedder_params: dict[str, Any] = Field({}, description="settings of the embedder's own")


@pickers.register("mig")
class Mig(Picker):
    """Value: 1, 2, ... in the order of picking; detail of a picked row: JSON with its gain then, of every row its labels known.

    `labels`: lists of texts, each counted once a row, null ones left out; `score`: 0 or more.
    """

    needs: ClassVar[dict[str, str]] = {"labels": "texts", "score": "number"}
    Params = MigParams

    def check(self, spec_path: Path) -> None:
        """SpecError for an embedder that needs the policy, or that cannot use its settings and files."""
        method = embedders.load(self.params.embedder)
        if method.needs_model:
            raise SpecError(
                f"select.pickers (mig): params.embedder: {self.params.embedder!r} embeds with the policy, which labels do not have",
                hint="take hashed_ngrams, or a model of sentence_transformers or model2vec",
            )
        method.check(self._embedder_params, spec_path)

    def settings(self, spec_path: Path) -> dict[str, Any]:
        """Its params, with the embedder's revision and the digests of the files that it names."""
        method = embedders.load(self.params.embedder)
        own = {"embedder_revision": method.revision, "embedder_params": method.settings(self._embedder_params, spec_path)}
        return self.params.model_dump(mode="json") | own

    @property
    def _embedder_params(self) -> Any:
        return embedder_params(self.params.embedder, self.params.embedder_params, "select.pickers (mig): params.embedder_params")

    def pick(self, rows: pa.Table, keys: np.ndarray) -> pa.Table:
        params: MigParams = self.params
        codes, offsets, names = _labels(rows)
        scores = numbers(rows, "score", least=0.0)
        if not names:
            raise StepError(
                "mig: none of the candidates has a label",
                hint="give the prompts a topic or labels, or cluster them: see the SQL's parameters",
            )
        u = label_graph.labelled(codes, offsets, len(names), scores, params.norm)
        pairs = self._pairs(names)
        if len(pairs[0]):
            u = u @ label_graph.propagation(len(names), pairs, params.prop_weight, params.normalize)
        u.sort_indices()  # a row's sum goes by label, whatever rows are beside it
        known = Known(len(names), Phi(params.phi, params.a, params.b, params.alpha), params.gain)
        picked, gains = greedy(u, known, params.of(rows.num_rows))
        return picks(rows, picked, {row: {"gain": gain} for row, gain in zip(picked, gains, strict=True)})

    def _pairs(self, names: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels that share, and their cosines."""
        if not self.params.prop_weight:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        embedder = embedders.load(self.params.embedder)(self._embedder_params, self.spec_path)
        vectors = [embedder.embed(names[start : start + embedder.batch]) for start in range(0, len(names), embedder.batch)]
        return label_graph.similar(np.concatenate(vectors), self.params.similarity)


def _labels(rows: pa.Table) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels by number in order of their names: (numbers of all rows' labels, where each row's begin (rows + 1,), names)."""
    lists = whole(rows["labels"])
    flat = lists.flatten()
    found = flat.unique().drop_null()
    names = found.take(pc.array_sort_indices(found))
    codes, there = pc.index_in(flat, value_set=names, skip_nulls=True), None
    if flat.null_count:
        there = pc.is_valid(flat)
        codes = codes.filter(there)
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    if there is not None:
        owner = np.repeat(np.arange(len(lists)), lengths)[there.to_numpy(zero_copy_only=False)]
        lengths = np.bincount(owner, minlength=len(lists))
    return codes.to_numpy(zero_copy_only=False), np.r_[0, np.cumsum(lengths)].astype(np.int32), names.to_pylist()
