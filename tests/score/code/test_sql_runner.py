"""What runs inside the sandbox for SQL, called here directly: comparison, and what a query may not do."""

import re

import pytest

from engine.score.code import sql_runner
from engine.score.code.sql_text import is_ordered, is_query

TASK = {
    "schema": "create table t (a int, b text, c real);",
    "rows": {"t": [[1, "x", 0.1], [2, "y", 0.2], [2, "y", 0.2], {"a": 3, "c": None}]},
    "gold": "select a, b from t",
    "gold_rows": None,
    "ordered": False,
    "columns": False,
    "as_set": False,
    "tolerance": 1e-6,
    "seconds": 1.0,
}


def judge(answer, **more):
    said = sql_runner.judge(TASK | more | {"answer": answer})
    return said["verdict"], said["detail"]


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        ("select a, b from t order by a desc;", {}),
        ("with u as (select * from t) select a as n, b from u", {}),
        ("select distinct a, b from t", {"as_set": True}),
        ("select 0.1 + 0.2 + 0.2 + 1e-9", {"gold": "select sum(c) from t"}),
        ("select 4.0", {"gold": "select count(*) from t"}),
        ("select a, b from t", {"gold_rows": [[3, None], [2, "y"], [2, "y"], [True, "x"]]}),
        ("select a from t order by a", {"gold": "select a from t order by a", "ordered": True}),
        ("select value from json_each('[1]')", {"gold": "select 1"}),
        ("select A, B from t", {"columns": True}),
        ("select a from t where 0", {"gold": "select a from t where 0"}),
        ("select a from t where 0", {"gold_rows": []}),
        ("values (1), (2)", {"rows": "insert into t values (2, '', 0), (1, '', 0);", "gold": "select a from t"}),
        # 1 + 1e-7 may take either row, 1 - 2e-6 / 3 only one of them
        ("values (1.0000001), (0.9999993)", {"gold": "values (1.0), (0.9999985)"}),
    ],
)
def test_right(answer, more):
    assert judge(answer, **more) == ("right", None)


@pytest.mark.parametrize(
    ("answer", "more", "detail"),
    [
        ("select distinct a, b from t", {}, "found 3 rows, expected 4: missing .2, 'y'"),
        ("select a, b from t union all values (9, 'z')", {}, "found more than 4 rows, expected 4"),
        ("select a from t", {}, "found 1 columns, expected 2"),
        ("select a, c from t", {}, "found 4 rows, expected 4: missing"),
        ("select b, a from t", {"columns": True}, "found the columns b, a, expected a, b"),
        ("select a from t order by a desc", {"gold": "select a from t order by a", "ordered": True}, r"row 1: found \(3,\), expected"),
        ("select a from t where a < 3 order by a", {"gold": "select a from t order by a", "ordered": True}, "missing"),
        ("select 1000001", {"gold": "select 1000000"}, "missing"),
        ("select '1'", {"gold": "select 1"}, "missing"),
        ("select null", {"gold": "select 0"}, "missing"),
        ("select a, z from t", {}, "no such column: z"),
        ("select a, b from t; select 1", {}, "one statement"),
        ("select randomblob(900000000), 1", {}, "too big"),
        *((text, {}, "not allowed: an answer is one query") for text in ("drop table t", "delete from t", "pragma table_info(t)")),
        *((text, {}, "not allowed") for text in ("attach 'x' as y", "insert into t values (1, 2, 3)", "vacuum into 'x'", "begin")),
        *((text, {}, "not allowed") for text in ("with x as (select 1) delete from t", "select load_extension('x'), 1")),
        *((text, {}, "not allowed") for text in ("select * from pragma_table_info('t')", "create temp table x (a)")),
    ],
)
def test_wrong(answer, more, detail):
    verdict, found = judge(answer, **more)
    assert verdict == "wrong"
    assert re.search(detail, found)


@pytest.mark.parametrize("answer", ["", "-- nothing", "selct a", "select (", "Here is the query", "select 'a"])
def test_unparseable(answer):
    assert judge(answer)[0] == "unparseable"


def test_a_query_that_does_not_end():
    endless = "with recursive r(x) as (select 1 union all select x + 1 from r) select count(*), 1 from r"
    assert judge(endless, seconds=0.2) == ("timeout", "the query ran for more than 0.2 s")


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        ({"schema": "create tabel t (a)"}, "the database cannot be made: near"),
        ({"rows": {"u": [[1]]}}, "the database cannot be made: no such table"),
        ({"gold": "select z from t"}, "the gold query does not run: no such column"),
        ({"gold": "-- none"}, "the gold query does not run: there is no query"),
        ({"gold": "drop table t"}, "the gold query does not run: not authorized"),
    ],
)
def test_a_row_at_fault_is_an_error(more, detail):
    verdict, found = judge("select 1", **more)
    assert (verdict, found[: len(detail)]) == ("error", detail)


def test_what_is_a_query_and_what_orders_it():
    assert is_query("/* x */ SELECT 1") and is_query("with a as (select 1) select 2") and not is_query("drop table t")
    assert is_ordered("select a from t ORDER  BY a") and is_ordered("select a from (select 1) order by 1 limit 2")
    for text in (
        "select a from (select a from t order by a)",
        "select 'order by' from t",
        "select 1 -- order by 1",
        'select "order by" from t',
    ):
        assert not is_ordered(text)
