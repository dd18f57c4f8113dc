"""Query `forgetting`: the forgetting measure with the catalogue's number; macros of gold answers and intervals."""

from __future__ import annotations

import duckdb
import pytest

from engine import macros, sqlfile
from small_lake import SmallLake


@pytest.fixture
def small(tmp_path):
    """Topics k = 1, 2, 3 are trained in rounds 0, 1, 2; accuracy on them falls afterwards."""
    lake = SmallLake(tmp_path)
    accuracy = {-1: (10, 20, 30), 0: (80, 21, 31), 1: (75, 65, 33), 2: (70, 60, 90)}
    for round_, values in accuracy.items():
        rows = [{"suite": "test", "metric": "pass@1", "topic": f"k{k}", "value": float(v)} for k, v in enumerate(values, 1)]
        rows += [
            {"suite": "test", "metric": "pass@1", "topic": None, "value": 50.0},
            {"suite": "gate", "metric": "pass@1", "topic": "k1", "value": 0.0},
        ]
        lake.put("evaluations", "policy", rows, round_)
        if round_ >= 0:
            lake.prompts([f"p{round_}"], round_=round_, topics={f"p{round_}": f"k{round_ + 1}"})
            lake.put("selected", "policy", [{"row_id": f"r{round_}", "prompt_id": f"p{round_}", "source_round": round_}], round_)
    return lake


def ask(lake, **params):
    file = sqlfile.read(sqlfile.find("queries/forgetting.sql"))
    return lake.session().table(file.query(), file.bind(params)).to_pylist()


def test_the_catalogues_number(small):
    rows = ask(small)
    assert [(r["topic"], r["then_round"], r["then_value"], r["now_value"], r["change"]) for r in rows] == [
        ("k1", 0, 80.0, 70.0, -10.0),
        ("k2", 1, 65.0, 60.0, -5.0),
    ]
    assert {r["forgetting"] for r in rows} == {-7.5}


def test_against_the_best_round_and_the_base(small):
    assert {r["topic"]: r["change"] for r in ask(small, since="best")} == {"k1": -10.0, "k2": -5.0, "k3": 57.0}
    base = ask(small, since="base")
    assert {r["topic"]: r["change"] for r in base} == {"k1": 60.0, "k2": 40.0, "k3": 60.0} and base[0]["forgetting"] == 160 / 3


def test_a_topic_that_is_carried_along_still_trains(small):
    carried = [{"row_id": f"r{r}", "prompt_id": f"p{r}", "source_round": r} for r in (0, 2)]
    small.put("selected", "policy", carried, 2)
    assert [r["topic"] for r in ask(small)] == ["k2"]


def test_macros():
    db = duckdb.connect(config={"threads": 1})
    for statement in macros.script():
        db.execute(statement)

    def value(text):
        return db.execute(f"select {text}").fetchone()[0]

    assert value("gold_answer('p1', null, '7', null, 'The answer is {gold}.')") == "The answer is 7."
    assert value("""gold_answer('p1', '{"s": {"t": " so\\n"}}', '7', '$.s.t', '{gold}')""") == "so"
    with pytest.raises(duckdb.Error, match="prompt p1 has no gold answer: no reference"):
        value("gold_answer('p1', '{\"a\": 1}', null, null, '{gold}')")
    with pytest.raises(duckdb.Error, match=r"nothing at \$\.b in its meta"):
        value("gold_answer('p1', '{\"a\": 1}', '7', '$.b', '{gold}')")
    table = {"()": [0, 1, 0], "(]": [0, 1, 1], "[)": [1, 1, 0], "[]": [1, 1, 1]}
    for bounds, inside in table.items():
        assert [value(f"in_interval({x}, 0, 1, '{bounds}')") for x in (0.0, 0.5, 1.0)] == [bool(i) for i in inside]
    assert value("in_interval(0.1::DOUBLE, 0.1, 1, '[]')") is True
    with pytest.raises(duckdb.Error, match="bounds: expected"):
        value("in_interval(1, 0, 1, '<')")
    made = value("demonstration([{'role': 'user', 'content': '1+1='}], '2', 'gold')")
    assert [(m["role"], m["content"], m["origin"], m["weight"]) for m in made] == [
        ("user", "1+1=", "prompt", 0.0),
        ("assistant", "2", "gold", 1.0),
    ]
