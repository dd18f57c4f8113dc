"""Replay: how many rows of earlier rounds train again, which, and what a part then holds."""

from __future__ import annotations

from collections import Counter

import pytest

from engine.errors import StepError
from engine.ids import digest
from engine.parts.continuing import Replay
from engine.select import carried
from engine.select.replayed import count, drawn, share
from engine.tables import TABLES
from small_lake import SmallLake, spec

HISTORY = {f"row{i}": i % 3 for i in range(900)}


@pytest.mark.parametrize(
    ("part", "fresh", "rows"), [(0.25, 300, 100), (0.5, 7, 7), (0.05, 95, 5), (0.1, 10, 1), (0.01, 10, 0), (0.2, 0, 0)]
)
def test_a_share_of_what_trains(part, fresh, rows):
    assert count(Replay(share=part), part, fresh, 10**6) == rows


def test_dmt_takes_a_share_of_the_earlier_rows():
    how = Replay(share=1 / 256, of="history")
    assert 10_000 + count(how, 1 / 256, 10_000, 256_000) == 11_000
    assert count(how, 1 / 256, 10_000, 1) == 1  # rounded up


def test_the_share_over_rounds():
    assert [share(Replay(share=0.4), r, 5) for r in range(3)] == [0.4] * 3
    linear = Replay(share=0.4, schedule="linear", to=0.1)
    assert [share(linear, r, 4) for r in range(5)] == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.1])
    cosine = Replay(share=0.4, schedule="cosine", to=0.1)
    assert [share(cosine, r, 5) for r in range(5)] == pytest.approx([0.4, 0.3561, 0.25, 0.1439, 0.1], abs=1e-4)
    assert share(linear, 0, 1) == 0.4


def test_rows_are_drawn_in_proportion_and_by_their_ids_alone():
    found = drawn(HISTORY, 100, 7, 3)
    assert Counter(HISTORY[row] for row in found) == {0: 34, 1: 33, 2: 33} and len(set(found)) == 100
    assert found == drawn(dict(reversed(HISTORY.items())), 100, 7, 3)
    assert set(found) != set(drawn(HISTORY, 100, 7, 4)) and set(found) != set(drawn(HISTORY, 100, 8, 3))
    assert set(drawn(HISTORY, 50, 7, 3)) < set(found)
    assert drawn(HISTORY, 2000, 7, 3) == sorted(HISTORY)


def row(name, round_, source=None, origin="generation"):
    return {
        "row_id": name, "prompt_id": name, "messages": [{"role": "assistant", "content": name, "origin": "policy", "weight": 1.0}],
        "weight": 0.5, "origin": origin, "source_round": round_ if source is None else source, "extra": [("n", 2.0)],
    }  # fmt: skip


@pytest.fixture
def small(tmp_path):
    lake = SmallLake(tmp_path)
    lake.put("selected", "policy", [row(f"gold{i}", -1, origin="gold") for i in range(4)], round_=-1)
    lake.put("selected", "policy", [row(f"a{i}", 0) for i in range(6)], round_=0)
    replay = [row(f"a{i}", 1, source=0, origin="replay") for i in range(2)]
    lake.put("selected", "policy", [row(f"b{i}", 1) for i in range(6)] + replay, round_=1)
    return lake


def gathered(small, fresh=12, round_=2, **replay):
    one = spec(train=[{"init": "previous", "reference": "none", "data": "round", "replay": replay}])
    table = small.lake.read("selected", experiment="small", rounds=[0], part="policy").select(TABLES["selected"].columns.names)
    new = table.slice(0, 0).from_pylist([row(f"new{i}", round_) for i in range(fresh)], schema=table.schema)
    found = carried.rows(small.context(one, round_), "selected", "policy", one.train[0], new)
    return None if found is None else found.to_pylist()


def test_replayed_rows_are_as_they_were(small):
    found = gathered(small, share=0.25)
    assert len(found) == 4 and {one["origin"] for one in found} == {"replay"}
    for one in found:
        round_ = {"g": -1, "a": 0, "b": 1}[one["row_id"][0]]
        expected = row(one["row_id"], round_) | {"origin": "replay"}
        assert {name: one[name] for name in expected} == expected


def test_every_row_is_there_once_and_only_in_the_rounds_asked_for(small):
    every = gathered(small, fresh=16, share=0.5)
    assert sorted(one["row_id"] for one in every) == [
        *(f"a{i}" for i in range(6)),
        *(f"b{i}" for i in range(6)),
        *(f"gold{i}" for i in range(4)),
    ]
    assert {one["source_round"] for one in gathered(small, fresh=6, share=0.5, source="last-1")} == {1}
    assert {one["source_round"] for one in gathered(small, share=0.5, source="last-2")} == {0, 1}


def test_too_few_earlier_rows(small):
    with pytest.raises(StepError, match=r"train \(policy\) of round 2: replay asks for 17 rows of earlier rounds, and there are 16"):
        gathered(small, fresh=17, share=0.5)
    assert len(gathered(small, fresh=17, share=0.5, short="take-all")) == 16


def test_a_first_round_has_nothing_to_replay(tmp_path, small):
    assert len(gathered(small, round_=0, share=0.25)) == 4  # worked examples of the base
    assert gathered(small, round_=0, share=0.25, source="last-2") == []
    with pytest.raises(StepError, match="asks for 4 rows"):
        gathered(small, round_=3, share=0.25, source="last-1")


def test_what_enters_the_fingerprint():
    def settings(**train):
        one = spec(rounds=5, train=[{"init": "previous", "reference": "none", "data": "round"} | train])
        return carried.settings(one.train[0], one)

    assert settings() == {"data": "round"}
    assert settings(replay={"share": 0.2})["seed"] == 7 and "rounds" not in settings(replay={"share": 0.2})
    assert settings(replay={"share": 0.2, "schedule": "linear", "to": 0.1})["rounds"] == 5
    assert digest(settings(replay={"share": 0.2})) != digest(settings(replay={"share": 0.3}))
