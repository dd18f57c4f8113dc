"""Clusters of earlier rounds, from `history.cluster_stats`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.cluster.embed import matrix
from engine.cluster.match import Earlier
from engine.errors import StepError


def earlier(past: pa.Table, model: str) -> Earlier | None:
    """The clusters of the last round whose vectors can be compared with those of `model`; None where there is none."""
    same = past.filter(pc.equal(_space(past), _name(model)))
    if not same.num_rows:
        return None
    return _of(same, pc.max(same["round"]).as_py(), pc.max(past["cluster_id"]).as_py() + 1)


def first(past: pa.Table, step: str, model: str) -> Earlier | None:
    """The clusters of the first round that has any. StepError where their vectors cannot be compared with those of `model`."""
    if not past.num_rows:
        return None
    found = _of(past, pc.min(past["round"]).as_py(), pc.max(past["cluster_id"]).as_py() + 1)
    made_of = past.filter(pc.equal(past["round"], found.round))["model"][0].as_py()
    if _name(made_of or "") != _name(model):
        raise StepError(
            f"{step}: fit is first, but the centroids of round {found.round} are of {made_of} and this round's vectors of {model}",
            hint="give the entry of `cluster` another name, or set fit: round",
        )
    return found


def _of(rows: pa.Table, round_: int, unused: int) -> Earlier:
    rows = rows.filter(pc.equal(rows["round"], round_)).sort_by("cluster_id")
    return Earlier(np.asarray(rows["cluster_id"].to_numpy()), matrix(rows["centroid"]), unused, round_)


def _name(model: str) -> str:
    return model.partition("@")[0]


def _space(rows: pa.Table) -> pa.Array:
    return pa.array([_name(model or "") for model in rows["model"].to_pylist()], pa.string())
