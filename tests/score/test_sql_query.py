"""Answers that are SQL: rows with a schema, rows and a gold query, in the sandbox."""

import json

import pytest

from engine.errors import SpecError
from engine.score import Answer, make
from engine.spec import Scorer

pytestmark = pytest.mark.usefixtures("jail")

META = {
    "schema": "create table pets (name text, kind text, age real);\ncreate table owners (name text, pet text);",
    "rows": {"pets": [["Ada", "cat", 3], ["Bo", "dog", 5.5], ["Cy", "cat", None]], "owners": [{"name": "Eve", "pet": "Bo"}]},
}
GOLD = "select name from pets where kind = 'cat'"
ENDLESS = "with recursive r(x) as (select 1 union all select x + 1 from r) select max(x) from r"


@pytest.fixture(scope="module")
def judge():
    made = {}

    def judged(response, gold=GOLD, meta=META, **params):
        verifier = made.setdefault(json.dumps(params), make(Scorer(verifier="sql_query", params={"workers": 1} | params)))
        return verifier.verify(Answer(response, gold, None, meta))

    yield judged
    for verifier in made.values():
        verifier.close()


@pytest.mark.parametrize(
    "response",
    [
        GOLD,
        "SELECT p.name AS n FROM pets AS p WHERE p.kind LIKE 'CAT' ORDER BY age;",
        "The cats:\n```sql\nselect name from pets where kind = 'cat'\n```\nare two.",
        "First:\n```sql\nselect 1\n```\nBetter:\n```sqlite\nwith c as (select * from pets where kind = 'cat') select name from c\n```",
        "```sql\nselect name from pets where kind = 'cat'",
        "values ('Cy'), ('Ada')",
    ],
)
def test_right(judge, response):
    assert judge(response) == (1.0, "right", None, "jail")


@pytest.mark.parametrize(
    ("response", "verdict", "detail"),
    [
        ("select name from pets", "wrong", "found more than 2 rows, expected 2"),
        ("select name from pets where age = 3", "wrong", "missing ('Cy',)"),
        ("select nam from pets", "wrong", "no such column: nam"),
        ("drop table pets", "wrong", "not allowed: an answer is one query"),
        ("select name from pets; drop table pets", "wrong", "one statement"),
        ("attach database '/etc/passwd' as secrets", "wrong", "not allowed"),
        ("select readfile('/etc/passwd')", "wrong", "no such function: readfile"),
        ("", "unparseable", "no query found"),
        ("```sql\n```", "unparseable", "no query found"),
        ("I cannot say.", "unparseable", "syntax error"),
        ("import os; os._exit(0)", "unparseable", "syntax error"),
        ('{"verdict": "right"}', "unparseable", "unrecognized token"),
        (ENDLESS, "timeout", "ran for more than 0.5 s"),
        ("select '\ud800'", "wrong", "surrogates"),
        ("select '\0', name from pets", "wrong", "null character"),
    ],
)
def test_not_right(judge, response, verdict, detail):
    found = judge(response, seconds=0.5)
    assert found[:2] == (0.0, verdict) and detail in found.detail


def test_order_means_something_where_the_gold_query_orders(judge):
    ordered = "select name from pets order by name"
    backwards = "select name from pets order by name desc"
    assert judge(ordered, ordered).verdict == "right"
    assert judge(backwards, ordered).detail == "row 1: found ('Cy',), expected ('Ada',)"
    assert judge(backwards, ordered, order="never").verdict == "right"
    assert judge(backwards, "select name from pets", order="always").verdict == "wrong"
    assert judge(backwards, f"select * from ({ordered})").verdict == "right"


def test_gold_rows_names_of_columns_sets_and_numbers(judge):
    assert judge("select kind, count(*) from pets group by 1", '[["cat", 2], ["dog", 1]]').verdict == "right"
    assert judge("select kind, count(*) from pets group by 1", '[["cat", 3], ["dog", 1]]').verdict == "wrong"
    assert judge("select name as n from pets where kind = 'cat'", columns=True).verdict == "wrong"
    assert judge("select kind from pets", "select distinct kind from pets", as_set=True).verdict == "right"
    assert judge("select kind from pets", "select distinct kind from pets").verdict == "wrong"
    assert judge("select avg(age) from pets", "[[4.25001]]", tolerance=1e-4).verdict == "right"
    assert judge("select avg(age) from pets", "[[4.25001]]").verdict == "wrong"


def test_rows_as_sql_and_as_json(judge):
    meta = {"schema": META["schema"], "rows": "insert into pets values ('Di', 'cat', 1);"}
    assert judge("select 'Di'", meta=meta).verdict == "right"
    assert judge("select 'Ada' union all select 'Cy'", meta={**META, "rows": json.dumps(META["rows"])}).verdict == "right"
    assert judge("select name from pets", meta={"schema": META["schema"]}).verdict == "right"  # two empty results
    other = {"ddl": META["schema"], "data": META["rows"]}
    assert judge(GOLD, meta=other, keys={"tables": "ddl", "rows": "data"}).verdict == "right"


@pytest.mark.parametrize(
    ("gold", "meta", "detail"),
    [
        (None, META, "there is no reference"),
        ("[1, 2]", META, "neither a query nor a JSON list of rows"),
        ("drop table pets", META, "neither a query nor a JSON list of rows"),
        ("select nam from pets", META, "the gold query does not run: no such column"),
        (GOLD, {}, "no text under 'schema'; name the column in prompts.fields.keep"),
        (GOLD, {"schema": "create tabel x (a)"}, "the database cannot be made"),
        (GOLD, META | {"rows": {"fish": [[1]]}}, "the database cannot be made: no such table: fish"),
        (GOLD, META | {"rows": "{"}, "no JSON"),
        (GOLD, META | {"rows": 7}, "expected text or {table: rows}"),
    ],
)
def test_rows_at_fault_are_errors(judge, gold, meta, detail):
    found = judge(GOLD, gold, meta)
    assert found[:2] == (0.0, "error") and detail in found.detail


def test_many_answers_at_once_in_order_whatever_the_workers():
    responses = [GOLD, "select 1", "selct", "", ENDLESS, "drop table pets", GOLD] * 3
    answers = [Answer(response, GOLD, None, META) for response in responses]
    found = []
    for workers in (1, 2, 4):
        verifier = make(Scorer(verifier="sql_query", params={"workers": workers, "seconds": 0.1}))
        verdicts, seconds = verifier.verify_all(answers)
        verifier.close()
        found.append([(verdict.value, verdict.verdict) for verdict in verdicts])
        assert len(seconds) == 21 and seconds[3] == 0.0 and min(seconds[0], seconds[4]) > 0
    assert [verdict for _, verdict in found[0][:7]] == ["right", "wrong", "unparseable", "unparseable", "timeout", "wrong", "right"]
    assert found[0] == found[1] == found[2] and found[0][:7] == found[0][7:14]


@pytest.mark.parametrize("params", [{"sandbox": "monty"}, {"order": "yes"}, {"tolerance": -1}, {"keys": {"db": "x"}}])
def test_wrong_settings(params):
    with pytest.raises(SpecError):
        make(Scorer(verifier="sql_query", params=params))
