"""select/replay.sql: how many old rows come again, which ones, and what they look like."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from engine import sqlfile
from engine.errors import QueryError
from engine.select.steps import SelectedStep
from engine.tables import check, check_keys
from small_lake import SmallLake, spec

TALK = [
    {"role": "user", "content": "ask", "origin": "prompt", "weight": 0.0},
    {"role": "assistant", "content": "old", "origin": "policy", "weight": 1.0},
]


def trained(small, rows, round_):
    """Puts rows of `selected` (row_id, source_round, more) into a round."""
    small.put(
        "selected",
        "policy",
        [
            {"row_id": name, "prompt_id": f"of {name}", "generation_id": name, "messages": TALK, "weight": 1.0, "source_round": source}
            | {"origin": "generation" if source == round_ else "replay"}
            | more
            for name, source, more in rows
        ],
        round_,
    )


def fresh(small, n, round_):
    small.prompts([f"p{i:02}" for i in range(n)], round_=round_)
    small.answers([(f"p{i:02}", a, float(a == "b")) for i in range(n) for a in "ab"], round_=round_)


def select(small, round_, seed=7, data="round", **params):
    one = spec(
        select={"sql": "select/replay.sql", "params": params}, train=[{"init": "previous", "reference": "none", "data": data}], seed=seed
    )
    output = SelectedStep("policy", small.folder / "spec.yaml").run(small.context(one, round_))
    rows = output.rows["selected", "policy"]
    check_keys("selected", check("selected", rows))
    small.keep(output, round_)
    return rows.to_pylist()


def replayed(rows):
    return [row for row in rows if row["origin"] == "replay"]


def test_a_share_of_all_rows_is_replayed_with_their_messages(tmp_path):
    small = SmallLake(tmp_path)
    trained(small, [(f"old{i}", 0, {"weight": 0.5, "label": "good"}) for i in range(20)], 0)
    fresh(small, 24, 1)
    rows = select(small, 1, fraction=0.25)
    old = replayed(rows)
    assert (len(rows), len(old)) == (32, 8)
    assert {row["generation_id"] for row in rows if row["origin"] == "generation"} == {f"p{i:02}-1-r1" for i in range(24)}
    assert {(row["source_round"], row["weight"], row["label"]) for row in old} == {(0, 0.5, "good")}
    assert all(row["messages"] == TALK and row["prompt_id"] == f"of {row['generation_id']}" for row in old)
    assert len({row["row_id"] for row in rows}) == 32 and not {row["row_id"] for row in rows} & {f"old{i}" for i in range(20)}
    assert old[0]["reason"] == "replayed, last trained 1 rounds ago"
    assert len(replayed(select(small, 1, fraction=0.6))) == 20  # all there are
    assert len(replayed(select(small, 1, fraction=0.0))) == 0
    assert {row["row_id"] for row in replayed(select(small, 1))} != {row["row_id"] for row in replayed(select(small, 1, seed=8))}


def test_the_first_round_has_nothing_to_replay_but_the_base(tmp_path):
    small = SmallLake(tmp_path)
    trained(small, [("gold", -1, {"generation_id": None, "origin": "gold"})], -1)
    fresh(small, 3, 0)
    assert [row["origin"] for row in select(small, 0)] == ["generation"] * 3
    rows = select(small, 0, base=True)
    assert Counter(row["origin"] for row in rows) == {"generation": 3, "replay": 1}
    assert replayed(rows)[0]["source_round"] == -1 and replayed(rows)[0]["generation_id"] is None


def test_a_row_is_replayed_once_and_its_age_counts_from_its_last_training(tmp_path):
    small = SmallLake(tmp_path)
    trained(small, [("a", 0, {}), ("b", 0, {})], 0)
    trained(small, [("c", 1, {}), ("again", 0, {"generation_id": "a", "prompt_id": "of a"})], 1)
    fresh(small, 30, 3)
    ages = {row["generation_id"]: row["reason"][23:] for row in replayed(select(small, 3))}
    assert ages == {"a": "2 rounds ago", "b": "3 rounds ago", "c": "2 rounds ago"}
    for data in ("round", "cumulative"):
        again = select(small, 3, data=data)
        assert len(replayed(again)) == 3
        kept = Counter((row["generation_id"], row["origin"]) for row in again)
        assert max(kept.values()) == 1


def chosen(small, seeds, **params):
    """How often each old row is replayed over seeds."""
    file, session, found = sqlfile.read(sqlfile.find("select/replay.sql")), small.session(5), Counter()
    query = f"select generation_id from ({file.query()}) where origin = 'replay'"
    for seed in range(seeds):
        found.update(session.table(query, file.bind(params, {"seed": seed, "round": 5}))["generation_id"].to_pylist())
    return found


@pytest.mark.parametrize("weights, chances", [("power_law", [0.12, 0.16, 0.24, 0.48]), ("uniform", [0.25] * 4)])
def test_weights_by_age(tmp_path, weights, chances):
    small = SmallLake(tmp_path)
    for round_ in (1, 2, 3, 4):  # ages 4, 3, 2, 1 in round 5
        trained(small, [(f"r{round_}", round_, {})], round_)
    fresh(small, 1, 5)
    found = chosen(small, 60, weights=weights, fraction=0.5)
    assert sum(found.values()) == 60
    expected = {f"r{r}": 60 * p for r, p in zip((1, 2, 3, 4), chances, strict=True)}
    assert sum((found[r] - e) ** 2 / e for r, e in expected.items()) < 16.3  # 3 degrees, p = 0.001
    with pytest.raises(QueryError, match="weights: expected uniform, power_law or forgotten"):
        select(small, 5, weights="old")


def test_the_reservoir_holds_each_row_equally_often_and_keeps_what_it_can(tmp_path):
    small = SmallLake(tmp_path)
    trained(small, [(f"a{i:03}", 0, {}) for i in range(500)], 0)
    trained(small, [(f"b{i:03}", 1, {}) for i in range(500)], 1)
    fresh(small, 2, 2)
    fresh(small, 2, 1)
    first = {row["generation_id"] for row in replayed(select(small, 1, buffer=100, fraction=0.99))}
    trained(small, [(f"b{i:03}", 1, {}) for i in range(500)], 1)
    second = {row["generation_id"] for row in replayed(select(small, 2, buffer=100, fraction=0.99))}
    assert len(first) == len(second) == 100
    assert {name for name in second if name.startswith("a")} <= first  # rows only leave the buffer for newer ones
    spread = 3 * math.sqrt(100 * 0.5 * 0.5)
    assert abs(sum(name.startswith("a") for name in second) - 50) < spread
