"""Rows of earlier rounds that train again: what `train.data` and `train.replay` say of them, for `selected` and `pairs` alike."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.select import replayed
from engine.spec import Spec, Train
from engine.step import BASE, Context, Ref
from engine.tables import PARTITION

ROUND, CUMULATIVE, REPLAY = "round", "cumulative", "replay"


def reads(table: str, role: str, train: Train) -> list[Ref]:
    """The history that a part needs."""
    return [] if train.data == ROUND and not train.replay else [Ref(table, role, "history")]


def settings(train: Train, spec: Spec) -> dict[str, Any]:
    """What of the spec decides which rows come along."""
    found: dict[str, Any] = {"data": train.data}
    if train.replay:
        found |= {"replay": train.replay.model_dump(mode="json", exclude={"short"}), "seed": spec.seed}
        found |= {"rounds": spec.rounds} if train.replay.to is not None else {}
    return found


def rows(ctx: Context, table: str, role: str, train: Train, fresh: pa.Table) -> pa.Table | None:
    """Rows that were fresh in an earlier round (their source is that round), but for those that the SQL brought itself; in order of
    round and row id. None where only the round's own rows train.

    Replayed rows keep their ids, so that the same row is the same in every round's `trained_rows`; their origin is `replay`.
    StepError where there are fewer than replay asks for.
    """
    if train.data == ROUND and not train.replay:
        return None
    source = train.replay.source if train.replay else train.data
    past = ctx.read(Ref(table, role, "history"))
    own = past.filter(pc.equal(past["source_round"], past["round"])).sort_by([("round", "ascending"), ("row_id", "ascending")])
    if source != CUMULATIVE:
        first = ctx.round - int(source.rpartition("-")[2])
        own = own.filter(pc.and_(pc.greater_equal(own["round"], first), pc.greater(own["round"], BASE)))
    own = own.filter(pc.invert(pc.is_in(own["row_id"], value_set=fresh["row_id"].combine_chunks())))
    if train.replay:
        own = _replayed(ctx, train, own, fresh.num_rows)
    return own.drop_columns(PARTITION.names).select(fresh.column_names).cast(fresh.schema)


def _replayed(ctx: Context, train: Train, own: pa.Table, fresh: int) -> pa.Table:
    """The rows of `own` that replay draws. Nothing where no earlier round has any: a first round has nothing to replay."""
    how = train.replay
    assert how
    if not own.num_rows and ctx.round == 0:
        return own
    sources = dict(zip(own["row_id"].to_pylist(), own["round"].to_pylist(), strict=True))
    wanted = replayed.count(how, replayed.share(how, ctx.round, ctx.spec.rounds), fresh, len(sources))
    replayed.enough(how, wanted, len(sources), f"train ({train.role}) of round {ctx.round}")
    chosen = replayed.drawn(sources, wanted, ctx.spec.seed, ctx.round)
    kept = own.filter(pc.is_in(own["row_id"], value_set=pa.array(chosen, pa.string())))
    return kept.set_column(kept.column_names.index("origin"), "origin", pa.array([REPLAY] * kept.num_rows, pa.string()))
