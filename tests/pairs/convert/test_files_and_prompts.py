"""Parquet and JSON lines of rows, and prompts that carry their pairs into pairs/given.sql."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine import datafiles
from engine.errors import DataError, QueryError
from engine.pairs.convert import files, prompts
from engine.prompts.build import Builder
from engine.spec import Fields
from engine.tables import TABLES
from pairs_lake import rows
from small_lake import SmallLake

MESSAGE = {"role": "assistant", "content": "é\n", "origin": "policy", "weight": 0.5}
ROW = {"row_id": "a", "prompt_id": "p", "messages": [MESSAGE], "chosen": [MESSAGE], "rejected": [MESSAGE, MESSAGE], "weight": 0.1 + 0.2}
ROW |= {"origin": "replay", "source_round": -1, "extra": [("ches", -1e-300), ("win_chosen", None)], "margin": float("inf")}


def test_parquet_keeps_every_column_and_the_map(tmp_path):
    table = pa.Table.from_pylist([ROW, ROW | {"row_id": "b", "extra": None, "margin": None}], schema=TABLES["pairs"].columns)
    files.write_parquet(table, tmp_path / "pairs.parquet")
    assert files.read_parquet(tmp_path / "pairs.parquet", "pairs").equals(table)
    with pytest.raises(DataError, match="it exists already"):
        files.write_parquet(table, tmp_path / "pairs.parquet")
    with pytest.raises(DataError, match=r"pairs\.parquet: table selected has no column"):
        files.read_parquet(tmp_path / "pairs.parquet", "selected")
    (tmp_path / "broken.parquet").write_text("no")
    with pytest.raises(DataError, match=r"broken\.parquet: not a readable Parquet file"):
        files.read_parquet(tmp_path / "broken.parquet", "pairs")


def test_json_lines_have_the_map_as_an_object(tmp_path):
    table = pa.Table.from_pylist([ROW | {"margin": 2.0}], schema=TABLES["pairs"].columns)
    files.write_jsonl(table, tmp_path / "pairs.jsonl")
    (line,) = (tmp_path / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    found = json.loads(line)
    assert found["extra"] == {"ches": -1e-300, "win_chosen": None} and found["chosen"] == [MESSAGE] and found["weight"] == 0.1 + 0.2


def given(folder, *data):
    """A preference data set, imported, as the prompts of round 0."""
    (folder / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    made = prompts.write("given.jsonl", folder / "prompts.parquet", folder)
    table = datafiles.read("prompts.parquet", folder)
    small = SmallLake(folder)
    small.put("prompts", "train", Builder(Fields(messages="messages")).build(table, "train"))
    return made, small


TEXT = {"prompt": "sky?", "chosen": "blue", "rejected": "green", "margin": 2.5, "sure": 0.75, "source": "s"}
CHAT = {"prompt": "grass?", "chosen": [{"role": "assistant", "content": 'a "b"\n'}], "rejected": [{"role": "assistant", "content": "x"}]}


def test_an_imported_data_set_gives_its_pairs(tmp_path):
    made, small = given(tmp_path, TEXT, CHAT)
    assert (made.rows, made.prompts, made.repeated) == (2, 2, 0)
    assert pq.read_table(tmp_path / "prompts.parquet").column_names == ["messages", "chosen", "rejected", "margin", "sure", "source"]
    found = {row["messages"][0]["content"]: row for row in rows(small, "given", margin="$.margin", probability="$.sure")}
    assert {asked: row["chosen"][0]["content"] for asked, row in found.items()} == {"sky?": "blue", "grass?": 'a "b"\n'}
    assert (found["sky?"]["margin"], found["sky?"]["probability"], found["grass?"]["margin"]) == (2.5, 0.75, None)
    assert {(row["origin"], row["rejected"][0]["origin"], row["rejected"][0]["weight"]) for row in found.values()} == {
        ("given", "given", 1.0)
    }


def test_text_in_meta_is_an_answer_and_a_prompt_without_a_pair_is_an_error(tmp_path):
    small = SmallLake(tmp_path)
    asked = {"split": "train", "messages": [{"role": "user", "content": "sky?"}]}
    small.put("prompts", "train", [asked | {"prompt_id": "p0", "meta": json.dumps({"good": 'blue \\ "5"', "bad": "1"})}])
    (row,) = rows(small, "given", chosen="$.good", rejected="$.bad")
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ('blue \\ "5"', "1")
    with pytest.raises(QueryError, match=r"prompt p0 has no pair: nothing at \$.chosen or \$.rejected in its meta"):
        rows(small, "given")
    assert rows(small, "given", missing="out") == []


def test_prompts_that_stand_twice_are_counted(tmp_path):
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (TEXT, TEXT | {"rejected": "red"}, CHAT)))
    made = prompts.write("given.jsonl", tmp_path / "prompts.parquet", tmp_path)
    assert (made.rows, made.prompts, made.repeated) == (3, 2, 1)


def test_a_row_that_is_no_preference_names_file_and_line(tmp_path):
    with pytest.raises(DataError, match=r"given\.jsonl:2: expected rejected"):
        given(tmp_path, TEXT, {"prompt": "x", "chosen": "y"})
    turn = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(DataError, match=r"given\.jsonl:1: the prompt ends with an assistant's message"):
        given(tmp_path, {"prompt": turn, "chosen": "c", "rejected": "d"})
