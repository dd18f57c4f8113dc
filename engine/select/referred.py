"""Values of a reference for demonstrations: what an objective such as KTO compares its rows with, in `extra` of `selected`."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from engine.spec import Spec, Train
from engine.step import Context
from engine.train import objective, references
from engine.train.rowwise import OWN, RowObjective


def weights(train: Train) -> dict[str, float]:
    """The models of the reference, where the objective takes its values from the rows."""
    return train.references if objective(train).reference == "values" else {}


def settings(spec: Spec, train: Train) -> dict[str, Any]:
    """What the values depend on, for the fingerprint; nothing where there are none."""
    found = weights(train)
    if not found:
        return {}
    own: dict[str, Any] = {"weights": found, "mask": train.mask, "max_length": train.max_length, "chat": spec.generate.chat}
    own |= {"trust_remote_code": spec.models.trust_remote_code}
    method = objective(train)
    if isinstance(method, RowObjective) and method.mismatched:  # partners are those of a batch
        own |= {"batch_size": train.batch_size, "order": train.order, "seed": spec.seed}
    return own


def referred(ctx: Context, train: Train, rows: pa.Table) -> pa.Table:
    """`rows` with <name>_logps in `extra` for everything that the objective reads. Rows that were carried over are read anew: the
    reference of this round is another model."""
    found, method = weights(train), objective(train)
    if not found or not isinstance(method, RowObjective):
        return rows
    given = method.read(rows, train, ctx.spec.seed, ctx.round)
    values = references.values(ctx, train, given, found, train.mask, cut=[name for name in given if name != OWN])
    columns = {name: references.mixed(values, found, name) for name in given}
    extra = [dict(row or ()) for row in rows["extra"].to_pylist()]
    for i, row in enumerate(extra):
        row |= {f"{name}_logps": column[i] for name, column in columns.items()}
    kept = pa.array([list(row.items()) for row in extra], rows.schema.field("extra").type)
    return rows.set_column(rows.column_names.index("extra"), "extra", kept)
