"""Every kind of file, and every way in which one can be broken."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine import datafiles
from engine.errors import DataError

ROWS = [{"question": "a", "n": 1}, {"question": "b", "n": 2}]


def put(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def test_jsonl_places_skip_blank_lines_and_know_their_file(tmp_path):
    one = put(tmp_path, "one.jsonl", '{"question": "a\u2028b"}\n\n{"question": "c", "extra": 1}\n')
    two = put(tmp_path, "two.jsonl", '\ufeff{"question": "d"}')
    rows = datafiles.read([one, two], tmp_path)
    assert [row["question"] for row in rows.rows] == ["a\u2028b", "c", "d"]
    assert rows.columns == ["question", "extra"]
    assert [rows.place(i) for i in range(3)] == [f"{tmp_path}/one.jsonl:1", f"{tmp_path}/one.jsonl:3", f"{tmp_path}/two.jsonl:1"]


def test_csv_with_quotes_and_line_breaks(tmp_path):
    name = put(tmp_path, "a.csv", 'question,n\n"x, ""y""\nz",1\nplain,2\n')
    rows = datafiles.read(name, tmp_path)
    assert rows.rows == [{"question": 'x, "y"\nz', "n": "1"}, {"question": "plain", "n": "2"}]
    assert [rows.place(0), rows.place(1)] == [f"{tmp_path}/a.csv:2", f"{tmp_path}/a.csv:4"]


def test_parquet_gzip_and_hugging_face_folders(tmp_path):
    from datasets import Dataset, DatasetDict

    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, ROWS)))
    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "hf"))
    DatasetDict({"train": Dataset.from_list(ROWS)}).save_to_disk(str(tmp_path / "dict"))
    for name in ("a.parquet", "a.jsonl.gz", "hf", "dict/train"):
        rows = datafiles.read(name, tmp_path)
        assert (rows.rows, rows.columns, rows.place(1)) == (ROWS, ["question", "n"], f"{tmp_path / name}:2")
    with pytest.raises(DataError, match="several splits") as caught:
        datafiles.read("dict", tmp_path)
    assert "dict/train" in caught.value.hint


def test_a_folder_of_parquet_files_is_read_in_the_order_of_their_names(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    with pytest.raises(DataError, match="neither a dataset"):
        datafiles.read("data", tmp_path)
    (folder / "README.md").write_text("about the data")
    for number in (1, 0):
        pq.write_table(pa.Table.from_pylist([{"question": f"{number}{i}"} for i in "ab"]), folder / f"train-0000{number}-of-00002.parquet")
    rows = datafiles.read("data", tmp_path)
    assert [row["question"] for row in rows.rows] == ["0a", "0b", "1a", "1b"]
    assert rows.place(2) == f"{folder}/train-00001-of-00002.parquet:1"
    before = datafiles.digest("data", tmp_path)
    pq.write_table(pa.Table.from_pylist([{"question": "0c"}]), folder / "train-00002-of-00002.parquet")
    assert datafiles.digest("data", tmp_path) != before


@pytest.mark.parametrize(
    ("name", "content", "where", "message"),
    [
        ("a.jsonl", b"", "a.jsonl", "empty"),
        ("a.jsonl", b" \n\n", "a.jsonl", "empty"),
        ("a.jsonl", b'{"q": 1}\n{"q": \n', "a.jsonl:2", "broken JSON"),
        ("a.jsonl", b'{"q": 1}\n[1]\n', "a.jsonl:2", "found list"),
        ("a.jsonl", b'{"q": NaN}\n', "a.jsonl:1", "NaN"),
        ("a.jsonl", b'{"q": "\\ud800"}\n', "a.jsonl:1", "surrogate"),
        ("a.jsonl", b'{"q": "a"}\n{"q": "\xff"}\n', "a.jsonl:2", "not UTF-8"),
        ("a.csv", b"q,n\nx,1\ny\n", "a.csv:3", "expected 2 cells"),
        ("a.csv", b"q,q\nx,1\n", "a.csv:1", "stands twice"),
        ("a.csv", b"q,n\n", "a.csv", "no row"),
        ("a.csv", b'q,n\nx,"1\n', "a.csv:2", "broken CSV"),
        ("a.parquet", b"not parquet", "a.parquet", "not a readable Parquet"),
        ("a.txt", b"x", "a.txt", "unknown kind"),
        ("a.jsonl.gz", b"x", "a.jsonl.gz", "cannot read"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path, name, content, where, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        datafiles.read(name, tmp_path)
    assert caught.value.where == str(tmp_path / where)


def test_a_missing_file_and_a_folder_that_is_no_dataset(tmp_path):
    put(tmp_path, "train.jsonl", "{}")
    with pytest.raises(DataError, match="no data file 'trian") as caught:
        datafiles.read("trian.jsonl", tmp_path)
    assert "train.jsonl" in caught.value.hint
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="neither a dataset"):
        datafiles.read("folder", tmp_path)


def test_digests_follow_the_bytes(tmp_path):
    put(tmp_path, "a.jsonl", '{"q": 1}')
    put(tmp_path, "b.jsonl", '{"q": 1}')
    first = datafiles.digest(["a.jsonl", "b.jsonl"], tmp_path)
    assert first["a.jsonl"] == first["b.jsonl"]
    put(tmp_path, "a.jsonl", '{"q": 12}')
    second = datafiles.digest(["a.jsonl", "b.jsonl"], tmp_path)
    assert second["a.jsonl"] != first["a.jsonl"]
    assert second["b.jsonl"] == first["b.jsonl"]
