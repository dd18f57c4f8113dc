"""export and import: rows that train as files for other tools, and preference data sets as prompts."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from typer.testing import Result

from engine.home import Home

Rondo = Callable[..., Result]


def test_selected_rows_go_to_parquet_jsonl_and_trl(ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    found = json.loads(rondo("export", "tiny/0", "--table", "selected", "--out", str(tmp_path / "a.parquet"), "--json").stdout)
    table = pq.read_table(tmp_path / "a.parquet")
    assert (found["round"], found["rows"], found["written"]) == ("000", table.num_rows, table.num_rows) and table.num_rows > 0
    result = rondo("export", "tiny/0", "--table", "selected", "--format", "jsonl", "--out", str(tmp_path / "a.jsonl"))
    assert result.exit_code == 0 and "rows of selected (policy) of tiny/000" in result.stdout
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["row_id"] for line in lines] == table["row_id"].to_pylist()
    assert rondo("export", "tiny", "--table", "selected", "--format", "trl", "--plain", "--out", str(tmp_path / "set")).exit_code == 0
    from datasets import load_from_disk

    made = load_from_disk(str(tmp_path / "set"))
    newest = json.loads(rondo("export", "tiny/1", "--table", "selected", "--out", str(tmp_path / "b.parquet"), "--json").stdout)
    assert len(made) == newest["rows"] and {"prompt", "completion", "row_id"} <= set(made.column_names)


def test_wrong_exports_say_what_to_do(ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    out = str(tmp_path / "x")
    for arguments, text in (
        (["tiny", "--out", out], "tiny has no pairs of 'policy'"),
        (["tiny/0", "--table", "pair", "--out", out], "did you mean 'pairs'"),
        (["tiny/0", "--table", "selected", "--format", "csv", "--out", out], "expected trl or parquet or jsonl"),
        (["tiny/0", "--table", "selected", "--plain", "--out", out], "add --format trl"),
        (["tiny/0", "--table", "selected", "--role", "reward", "--out", out], "roles that have some: policy"),
        (["tony", "--out", out], "did you mean 'tiny'"),
        (["tiny/0", "--table", "selected", "--format", "trl", "--kind", "preference", "--out", out], "makes no preference data set"),
        (["tiny/0", "--table", "selected", "--out", str(tmp_path)], "it exists already"),
    ):
        result = rondo("export", *arguments)
        assert result.exit_code in (1, 2) and text in result.stderr, (arguments, result.stderr)
    assert not Path(out).exists()


def test_import_makes_prompts_with_their_pairs(rondo: Rondo, tmp_path: Path) -> None:
    data, out = tmp_path / "data.jsonl", tmp_path / "prompts.parquet"
    rows = [{"prompt": "sky?", "chosen": "blue", "rejected": word} for word in ("green", "red")]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = rondo("import", str(data), "--out", str(out))
    assert result.exit_code == 0 and "2 rows, 1 prompts" in result.stdout and "duplicates: first" in result.stdout
    assert pq.read_table(out)["rejected"].to_pylist()[1] == [{"role": "assistant", "content": "red"}]
    again = rondo("import", str(data), "--out", str(out))
    assert again.exit_code == 2 and "it exists already" in again.stderr
    data.write_text('{"prompt": "sky?"}\n')
    wrong = rondo("import", str(data), "--out", str(tmp_path / "other.parquet"))
    assert wrong.exit_code == 2 and "data.jsonl:1: expected chosen" in wrong.stderr
