"""Scores and comparisons that some step has already made, of any round and experiment: what was paid for is not paid for again.

A scorer's number depends on its version (method, revision, settings, the digests of the models that it reads) and on what it
sees (the answer's text, and of the prompt what it asks for), which `cache_key` holds. The rows themselves are the cache: there
is no other store that could forget or disagree. Timeouts and errors are not taken over, since another try may end better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from engine.lake import Lake

if TYPE_CHECKING:
    import polars as pl

SCORE = ("value", "verdict", "detail", "runner")
COMPARISON = ('"order"', "votes", "probability", "uncertainty", "value", "verdict", "detail")
# equal keys have equal numbers, but for a judge that two experiments ask at the same time: then the first round in order counts
QUERY = """
select cache_key, {columns}
from lake.{table}
where {by} = $version and cache_key in (select key from wanted) and (verdict is null or verdict not in ('timeout', 'error'))
qualify row_number() over (partition by cache_key order by experiment, round, part, {columns}) = 1
order by cache_key
"""


def scores(lake: Lake, version: str, keys: pa.Array) -> pl.DataFrame:
    """`cache_key` and the columns of SCORE, one row for each of `keys` that a scorer of this version has scored."""
    return _known(lake, "scores", "scorer_version", SCORE, version, keys)


def comparisons(lake: Lake, version: str, keys: pa.Array) -> pl.DataFrame:
    """`cache_key` and the columns of COMPARISON, one row for each of `keys` that a judge of this version has compared."""
    return _known(lake, "preferences", "judge_version", COMPARISON, version, keys)


def _known(lake: Lake, table: str, by: str, columns: tuple[str, ...], version: str, keys: pa.Array) -> pl.DataFrame:
    import polars as pl

    from engine.query import Session, Window

    session = Session(lake, Window())
    session.connection.register("wanted", pa.table({"key": keys}))
    found = session.table(QUERY.format(table=table, by=by, columns=", ".join(columns)), {"version": version}, where="the score cache")
    made = pl.from_arrow(found)
    assert isinstance(made, pl.DataFrame)
    return made
