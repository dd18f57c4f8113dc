"""Rows of earlier rounds that train again: what `train.data` says of them, for `selected` and `pairs` alike."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from engine.spec import Train
from engine.step import BASE, Context, Ref
from engine.tables import PARTITION

ROUND, CUMULATIVE = "round", "cumulative"


def reads(table: str, role: str, train: Train) -> list[Ref]:
    """The history that a part needs."""
    return [] if train.data == ROUND else [Ref(table, role, "history")]


def rows(ctx: Context, table: str, role: str, train: Train, fresh: pa.Table) -> pa.Table | None:
    """Rows that were fresh in an earlier round (their source is that round), but for those that the SQL brought itself; in order of
    round and row id. None where only the round's own rows train."""
    if train.data == ROUND:
        return None
    past = ctx.read(Ref(table, role, "history"))
    own = past.filter(pc.equal(past["source_round"], past["round"])).sort_by([("round", "ascending"), ("row_id", "ascending")])
    if train.data != CUMULATIVE:
        first = ctx.round - int(train.data.rpartition("-")[2])
        own = own.filter(pc.and_(pc.greater_equal(own["round"], first), pc.greater(own["round"], BASE)))
    own = own.filter(pc.invert(pc.is_in(own["row_id"], value_set=fresh["row_id"].combine_chunks())))
    return own.drop_columns(PARTITION.names).select(fresh.column_names).cast(fresh.schema)
