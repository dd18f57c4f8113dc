"""A session over a round: `scored` has the scorers that queries name, also when a later query names another."""

from pathlib import Path

import pytest

from engine.errors import QueryError
from engine.query import Session, Window
from small_lake import SmallLake


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """One answer, with two scorers and the combined score."""
    small = SmallLake(tmp_path)
    small.put("generations", "rollout", [{"generation_id": "g", "prompt_id": "p"}])
    for scorer, value in (("math", 1.0), ("format", 0.5), ("score", 0.75)):
        row = {"item_id": "g", "prompt_id": "p", "scorer": scorer, "value": value, "verdict": "right"}
        small.put("scores", f"rollout/{scorer}", [row])
    return Session(small.lake, Window("small", 0))


def test_a_later_query_may_name_another_scorer(session: Session) -> None:
    assert session.run("select score from scored").fetchall() == [(0.75,)]
    assert session.run("select math from scored").fetchall() == [(1.0,)]
    assert session.run("select format, math, verdict from scored").fetchall() == [(0.5, 1.0, "right")]
    assert session.table("select * from scored").num_rows == 1
    assert session.run("select score from lake.scored").fetchall() == [(0.75,)]
    assert session.run("select format from lake.scored").fetchall() == [(0.5,)]


@pytest.mark.parametrize("query", ["drop view bare.scored", "copy scored to 'x.csv'", "select 1; select 2", "select $nobody from scored"])
def test_sql_only_reads_one_statement_with_every_parameter_given(session: Session, query: str) -> None:
    with pytest.raises(QueryError):
        session.run(query)
