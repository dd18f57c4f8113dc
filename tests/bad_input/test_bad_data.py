"""Broken data files, SQL files and model folders: found before any work, named with file and line, and the lake stays as it was."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from bad_home import Bench, message

Rondo = Callable[..., Result]
Break = Callable[[Bench], object]
case = pytest.param
GOOD = {"question": "900+1=", "answer": "901", "topic": "even"}


def fails(bench: Bench, rondo: Rondo, parts: list[str], code: int = 2) -> None:
    """`validate` and `run` say all `parts` and change nothing."""
    before = bench.snapshot()
    for command in ("validate", "run"):
        said = message(rondo(command, "bad"), code)
        assert all(part in said for part in parts), said
    assert bench.snapshot() == before


def csv(bench: Bench, text: str, name: str = "train.csv") -> None:
    """The train split from a CSV."""
    (bench.data / name).write_text(text)
    bench.edit("train: data/train.jsonl", f"train: data/{name}")


def parquet(bench: Bench, content: bytes | pa.Table) -> None:
    """The train split from a Parquet file."""
    path = bench.data / "train.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path)
    bench.edit("train: data/train.jsonl", "train: data/train.parquet")


def cut(bench: Bench) -> None:
    """A Parquet file that was not written to its end."""
    path = bench.data / "train.parquet"
    pq.write_table(pa.table({"question": ["1+1="] * 50, "answer": ["2"] * 50, "topic": ["a"] * 50}), path)
    parquet(bench, path.read_bytes()[:-100])


FILES = [
    case(
        lambda b: (b.data / "train.jsonl").rename(b.data / "trian.jsonl"), ["data/train.jsonl", "did you mean 'trian.jsonl'"], id="missing"
    ),
    case(lambda b: b.edit("train: data/train.jsonl", "train: nowhere/train.jsonl"), ["nowhere/train.jsonl", "no folder"], id="no folder"),
    case(lambda b: b.edit("train: data/train.jsonl", "train: []"), ["bad.yaml:9: prompts.train", "at least 1 item"], id="no file named"),
    case(
        lambda b: b.edit("train: data/train.jsonl", "train: data"), ["experiments/data", "save_to_disk"], id="a folder that is no dataset"
    ),
    case(lambda b: b.edit("train: data/train.jsonl", "train: bad.yaml"), ["bad.yaml", "unknown kind of data file"], id="unknown kind"),
    case(lambda b: b.put("train.jsonl"), ["train.jsonl", "empty"], id="empty file"),
    case(lambda b: (b.data / "gate.jsonl").write_text("\n \n"), ["gate.jsonl", "empty"], id="only blank lines"),
    case(
        lambda b: (b.data / "train.jsonl").write_bytes(b'{"question": "a"}\n{"question": "\xff"}\n'),
        ["train.jsonl:2", "UTF-8", "0xff"],
        id="not UTF-8",
    ),
    case(lambda b: (b.data / "train.jsonl").write_bytes(b"\x00" * 40), ["train.jsonl:1"], id="zeros"),
    case(
        lambda b: b.put("train.jsonl", '{"question": "9+', more=True), ["train.jsonl:91", "broken JSON", "cut off"], id="broken JSON line"
    ),
    case(lambda b: b.put("train.jsonl", '{"question": "9+1=", "answer": NaN}', more=True), ["train.jsonl:91", "NaN"], id="NaN"),
    case(lambda b: b.put("train.jsonl", '["9+1=", "10"]', more=True), ["train.jsonl:91", "expected an object", "found list"], id="a list"),
    case(lambda b: b.put("train.jsonl", "[" * 100_000, more=True), ["train.jsonl:91", "broken JSON"], id="nested too deep"),
    case(
        lambda b: b.put("train.jsonl", {"qestion": "9+1=", "answer": "10"}, more=True),
        ["train.jsonl:91: question", "no such column", "did you mean 'qestion'", "prompts.fields.template"],
        id="missing column",
    ),
    case(
        lambda b: b.put("gate.jsonl", {"question": "9+1="}, more=True), ["gate.jsonl:11: answer", "no such column"], id="missing reference"
    ),
    case(lambda b: b.put("train.jsonl", GOOD | {"question": None}, more=True), ["train.jsonl:91: question", "is null"], id="null prompt"),
    case(lambda b: b.put("train.jsonl", GOOD | {"question": "  "}, more=True), ["train.jsonl:91: question", "is empty"], id="blank prompt"),
    case(
        lambda b: b.put("train.jsonl", GOOD | {"question": ["a"]}, more=True),
        ["train.jsonl:91: question", "expected text", "['a']"],
        id="a prompt that is no text",
    ),
    case(
        lambda b: b.put("train.jsonl", GOOD, GOOD, more=True),
        ["train.jsonl:92", "stands at", "train.jsonl:91", "duplicates: first"],
        id="duplicate prompt",
    ),
    case(
        lambda b: b.put("train.jsonl", b.lines("gate.jsonl")[3], more=True),
        ["train.jsonl:91", "also a gate prompt", "gate.jsonl:4"],
        id="train and gate overlap",
    ),
    case(
        lambda b: b.put("train.jsonl", b.lines("test.jsonl")[0], more=True),
        ["train.jsonl:91", "also a test prompt", "test.jsonl:1"],
        id="train and test overlap",
    ),
    case(
        lambda b: b.put("gate.jsonl", b.lines("test.jsonl")[1], more=True),
        ["gate.jsonl:11", "also a test prompt", "test.jsonl:2"],
        id="gate and test overlap",
    ),
    case(
        lambda b: b.put("base.jsonl", json.loads(b.lines("test.jsonl")[0]) | {"response": " Answer: 201"}, more=True),
        ["base.jsonl:41", "also a test prompt", "test.jsonl:1"],
        id="the base learns a test prompt",
    ),
    case(lambda b: b.put("base.jsonl", GOOD, more=True), ["base.jsonl:41", "response", "no such column"], id="a base row without answer"),
    case(
        lambda b: b.put("base.jsonl", GOOD | {"response": ""}, more=True),
        ["base.jsonl:41", "response", "found ''"],
        id="a base row with none",
    ),
    case(lambda b: b.edit("per_round: 24", "per_round: 91"), ["bad.yaml", "per_round is 91", "90 prompts"], id="pool smaller than a round"),
    case(
        lambda b: b.edit("gate: data/gate.jsonl", "gate: {rows: 90}"),
        ["bad.yaml:10: prompts.gate", "cannot hold out 90 of 90"],
        id="hold out all",
    ),
    case(
        lambda b: b.edit("reference: answer", "reference: answer, reference_pattern: '#### (.*)'"),
        ["train.jsonl:1: answer", "'#### (.*)'", "'1'"],
        id="reference pattern without a match",
    ),
    case(
        lambda b: b.edit("reference: answer", "reference: answer, reference_pattern: '(['"),
        ["bad.yaml:13", "reference_pattern", "'(['"],
        id="reference pattern that is none",
    ),
    case(lambda b: b.edit('template: "{question}"', 'template: "{question"'), ["bad.yaml:13", "prompts.fields.template"], id="open brace"),
    case(
        lambda b: b.edit('template: "{question}"', 'template: "What?"'), ["bad.yaml:13", "names no column"], id="template without a column"
    ),
    case(
        lambda b: b.edit('template: "{question}"', "messages: question"),
        ["train.jsonl:1: question", "list of messages"],
        id="messages as text",
    ),
    case(lambda b: csv(b, "question,answer,topic\n1+1=,2,even\n2+1=,3\n"), ["train.csv:3", "expected 3 cells", "found 2"], id="ragged CSV"),
    case(lambda b: csv(b, 'question,answer,topic\n"1+1=,2,even\n'), ["train.csv:2", "broken CSV"], id="open quote in CSV"),
    case(lambda b: csv(b, "question,answer,answer\n1+1=,2,2\n"), ["train.csv:1", "'answer' stands twice"], id="CSV column twice"),
    case(lambda b: csv(b, "question,answer,topic\n"), ["train.csv", "no row"], id="CSV header alone"),
    case(lambda b: csv(b, "question", "train.jsonl.gz"), ["train.jsonl.gz", "cannot read"], id="gzip that is none"),
    case(lambda b: parquet(b, b"PAR1 nothing PAR1"), ["train.parquet", "not a readable Parquet file"], id="corrupt Parquet"),
    case(cut, ["train.parquet", "not a readable Parquet file"], id="Parquet cut off"),
    case(lambda b: parquet(b, pa.table({"question": pa.array([], pa.string())})), ["train.parquet", "no row"], id="empty Parquet"),
    case(
        lambda b: parquet(b, pa.table({"question": ["1+1="], "answer": [b"2"], "topic": ["a"]})),
        ["train.parquet:1: answer", "b'2'"],
        id="Parquet bytes",
    ),
]


@pytest.mark.parametrize("broken, parts", FILES)
def test_a_broken_data_file_is_named_with_its_line(bench: Bench, rondo: Rondo, broken: Break, parts: list[str]) -> None:
    broken(bench)
    fails(bench, rondo, parts)


SQL = [
    case(None, ["no SQL file 'mine.sql'", "bad.yaml"], id="missing"),
    case("", ["mine.sql", "empty"], id="empty"),
    case("-- nothing\n", ["mine.sql", "empty"], id="only a comment"),
    case("select prompt_id, generation_id from scored where", ["mine.sql", "syntax error"], id="syntax error"),
    case("select prompt_id from scored; select 1 from scored", ["mine.sql", "expected one statement, found 2"], id="two statements"),
    case("delete from generations", ["mine.sql", "SELECT"], id="a DELETE"),
    case(
        "select prompt_id, generation_id from generatons",
        ["mine.sql", "no table 'generatons'", "did you mean 'generations'"],
        id="unknown table",
    ),
    case("select prompt_id, generation_id from evaluations", ["mine.sql", "does not exist yet", "history.evaluations"], id="a later table"),
    case("select prompt_id, generation_id from lake.scored", ["mine.sql", "never reads other experiments"], id="other experiments"),
    case("select prompt_id, generation_id from steps", ["mine.sql", "cannot read steps"], id="the ledger"),
    case("select prompt_id, generation_id from read_csv('x.csv')", ["mine.sql"], id="a file"),
    case("select prompt_id, generation_id from scored where random() > 0.5", ["mine.sql", "random()", "draw($seed, key)"], id="random()"),
    case("select prompt_id, generation_id from scored using sample 5", ["mine.sql", "sample", "draw($seed, key)"], id="a sample"),
    case("select prompt_id, generation_id from scored where score > $bar", ["mine.sql", "$bar", "nor"], id="a parameter without a value"),
]
SCHEMAS = [
    case("select prompt_id, generation_id, scroe from scored", ["mine.sql", '"scroe" not found', "score"], id="unknown column"),
    case("select generation_id from scored", ["mine.sql", "expected prompt_id and generation_id"], id="no prompt_id"),
    case(
        "select prompt_id, generation_id, response from scored", ["mine.sql", "'response'", "is not one of `selected`"], id="extra column"
    ),
    case("select prompt_id, generation_id, 'much' as weight from scored", ["mine.sql: column weight", "expected numbers"], id="wrong type"),
    case("select prompt_id, generation_id, generation_id from scored", ["mine.sql", "'generation_id_1'"], id="a column twice"),
]


def with_sql(bench: Bench, text: str | None) -> None:
    """The selection from mine.sql beside the spec."""
    if text is not None:
        (bench.spec.parent / "mine.sql").write_text(text)
    bench.edit("{sql: select/random.sql, params: {per_prompt: 1}}", "{sql: mine.sql}")


@pytest.mark.parametrize("text, parts", [*SQL, *SCHEMAS])
def test_a_broken_selection_is_named(bench: Bench, rondo: Rondo, text: str | None, parts: list[str]) -> None:
    with_sql(bench, text)
    fails(bench, rondo, parts)


def test_a_parameter_that_the_sql_does_not_name(bench: Bench, rondo: Rondo) -> None:
    bench.edit("{per_prompt: 1}", "{per_promt: 1}")
    fails(bench, rondo, ["select/random.sql", "'per_promt'", "did you mean 'per_prompt'"])


METRICS = [
    case("select prompt_id, avg(scroe) as value from answers group by 1", ["scroe"], id="unknown column"),
    case("select prompt_id, score from answers", ["expected the columns prompt_id and value"], id="wrong column"),
    case("select prompt_id, 'a' as value from answers", ["expected numbers"], id="no number"),
    case("select prompt_id, 1.0 as value from answers where false", ["expected one row for each"], id="lost prompt"),
    case("select prompt_id, random() as value from answers", ["random()"], id="random()"),
]


@pytest.mark.parametrize("text, parts", METRICS)
def test_a_broken_metric_is_named(bench: Bench, rondo: Rondo, text: str, parts: list[str]) -> None:
    folder = bench.spec.parent / "metrics"
    folder.mkdir()
    (folder / "mine.sql").write_text(text)
    bench.edit("mean, length", "mine, length")
    fails(bench, rondo, ["metrics/mine.sql", *parts])


def model(bench: Bench, files: dict[str, str]) -> Path:
    """A first policy in a folder that holds only `files`."""
    folder = bench.spec.parent / "model"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    start = bench.spec.read_text()
    head, tail = start.index("base:\n"), start.index("prompts:\n")
    bench.spec.write_text(start[:head] + "models: {policy: model}\n" + start[tail:])
    return folder


MODELS = [
    case({}, ["no *.safetensors"], id="empty folder"),
    case({"config.json": "{}", "pytorch_model.bin": "x"}, ["no *.safetensors", "pytorch_model.bin"], id="pickled weights"),
    case({"config.json": "{", "model.safetensors": "x", "tokenizer.json": "{}"}, ["config.json", "not JSON"], id="broken config"),
    case({"model.safetensors": "x"}, ["config.json is missing"], id="no config"),
]


@pytest.mark.parametrize("files, parts", MODELS)
def test_a_model_folder_that_is_none(bench: Bench, rondo: Rondo, files: dict[str, str], parts: list[str]) -> None:
    model(bench, files)
    fails(bench, rondo, ["experiments/model", *parts], code=1)


def test_a_model_that_is_no_folder(bench: Bench, rondo: Rondo) -> None:
    model(bench, {})
    bench.edit("policy: model", "policy: ./modle")
    fails(bench, rondo, ["bad.yaml", "no folder './modle'", "experiments/modle"], code=1)


RECORDED = [
    case([], ["answers.jsonl", "empty"], id="empty"),
    case([{"prompt": "0+1=", "answer": "1"}], ["answers.jsonl:1", "'response'", "columns: prompt, answer"], id="missing column"),
    case([{"prompt": "0+1=", "response": 4}], ["answers.jsonl:1", "expected an answer", "4"], id="an answer that is no text"),
]


@pytest.mark.parametrize("rows, parts", RECORDED)
def test_recorded_answers_that_are_none(bench: Bench, rondo: Rondo, rows: list[dict], parts: list[str]) -> None:
    bench.put("answers.jsonl", *rows)
    bench.edit("max_tokens: 8, batch: 16", "backend: recorded, params: {path: data/answers.jsonl}")
    fails(bench, rondo, parts)
