"""From files to splits: fields, malformed rows, doubles, held-out rows, overlaps."""

import json
from pathlib import Path

import pytest

from engine import ids, prompts
from engine.errors import DataError, SpecError
from engine.prompts.splits import load
from fakes import spec_of

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


def write(folder, name, rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def questions(count, start=0):
    return [{"question": f"What is {i}+1?", "answer": i + 1} for i in range(start, start + count)]


def spec(folder, rows, fields=None, **more):
    write(folder, "train.jsonl", rows)
    return spec_of(prompts={"train": "train.jsonl", "fields": {"template": "{question}"} | (fields or {})} | more)


def test_fields_become_columns(tmp_path):
    row = {"q": "1+1?", "sol": "x\n#### 2", "t": "sum", "level": "3", "id": 7, "kind": None}
    fields = {
        "template": "Q: {q} {{now}}",
        "system": "Be brief.",
        "reference": "sol",
        "reference_pattern": r"####\s*(.+)",
        "topic": "t",
        "task": "kind",
        "difficulty": "level",
    }
    found = load(spec(tmp_path, [row], fields).prompts, tmp_path).train[0]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q: 1+1? {now}"}]
    assert found["messages"] == messages
    assert found["prompt_id"] == ids.prompt_id(messages)
    assert (found["reference"], found["topic"], found["task"], found["difficulty"]) == ("2", "sum", None, 3.0)
    assert json.loads(found["meta"]) == {"id": 7, "sol": "x\n#### 2"}
    assert found["source"].endswith("train.jsonl:1")


def test_columns_of_the_prompt_stay_in_meta_where_a_scorer_needs_them(tmp_path):
    row = {"question": "Count.", "schema": "create table t (a)", "id": 7}
    for keep, meta in (([], {"id": 7}), (["schema"], {"id": 7, "schema": row["schema"]})):
        found = load(spec(tmp_path, [row], {"template": "{schema} {question}", "keep": keep}).prompts, tmp_path).train[0]
        assert json.loads(found["meta"]) == meta
    with pytest.raises(DataError, match="shema: the row has no such column"):
        load(spec(tmp_path, [row], {"template": "{question}", "keep": ["shema"]}).prompts, tmp_path)


def test_messages_column(tmp_path):
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    found = load(spec(tmp_path, [{"chat": chat}], {"messages": "chat"}).prompts, tmp_path).train[0]
    assert found["messages"] == chat


@pytest.mark.parametrize(
    ("row", "fields", "message"),
    [
        ({"qestion": "x"}, {}, "question: the row has no such column"),
        ({"question": "  "}, {}, "question: is empty"),
        ({"question": None}, {}, "question: is null"),
        ({"question": ["x"]}, {}, "question: expected text"),
        ({"question": "x", "a": "18"}, {"reference": "a", "reference_pattern": "#### (.+)"}, "a: reference_pattern"),
        ({"question": "x", "a": " "}, {"reference": "a"}, "a: the reference is empty"),
        ({"question": "x", "d": "hard"}, {"difficulty": "d"}, "d: expected a number"),
        ({"question": "x"}, {"topic": "topic"}, "topic: the row has no such column"),
        ({"m": "x"}, {"messages": "m"}, "m: expected a list of messages"),
        ({"m": [{"role": "usr", "content": "x"}]}, {"messages": "m"}, "unknown role"),
        ({"m": [{"role": "user", "content": ""}]}, {"messages": "m"}, "needs text"),
        ({"m": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, {"messages": "m"}, "last message"),
        ({"m": [{"role": "system", "content": "s"}, {"role": "user", "content": "x"}]}, {"messages": "m", "system": "t"}, "system message"),
    ],
)
def test_a_malformed_row_is_named(tmp_path, row, fields, message):
    good = {"question": "fine", "a": "#### 1", "d": 1, "topic": "t", "m": [{"role": "user", "content": "fine"}]}
    bad = spec(tmp_path, [good, row], fields)
    with pytest.raises(DataError, match=message) as caught:
        prompts.check(bad, tmp_path / "spec.yaml")
    assert caught.value.where.endswith("train.jsonl:2")


def test_nearest_column_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        prompts.check(spec(tmp_path, [{"qestion": "x"}]), tmp_path / "spec.yaml")
    assert "'qestion'" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"template": "{question"}, "template"),
        ({"template": "no column"}, "names no column"),
        ({"template": "{question:>10}"}, "one column's name"),
        ({"reference_pattern": "(x)"}, "needs prompts.fields.reference"),
        ({"reference": "answer", "reference_pattern": "("}, "not a regular expression"),
        ({"reference": "answer", "reference_pattern": "x"}, "first group"),
    ],
)
def test_fields_that_cannot_work_are_spec_errors(tmp_path, fields, message):
    with pytest.raises(SpecError, match=message):
        prompts.check(spec(tmp_path, questions(1), fields), tmp_path / "spec.yaml")


def test_doubles_are_an_error_or_the_first_stays(tmp_path):
    rows = [*questions(3), {"question": "What is 1+1?", "answer": 99}]
    fields = {"reference": "answer"}
    with pytest.raises(DataError, match=r"train.jsonl:2") as caught:
        prompts.check(spec(tmp_path, rows, fields), tmp_path / "spec.yaml")
    assert caught.value.where.endswith("train.jsonl:4")
    kept = spec(tmp_path, rows, fields, duplicates="first")
    assert prompts.check(kept, tmp_path / "spec.yaml") == {"train": 3, "gate": 0, "test": 0, "train_duplicates": 1}
    assert [row["reference"] for row in load(kept.prompts, tmp_path).train] == ["1", "2", "3"]


def test_held_out_rows_do_not_depend_on_seed_or_order(tmp_path):
    holdout = {"gate": {"rows": 4, "of": "train"}, "test": {"rows": 3, "of": "train"}}
    one = load(spec(tmp_path, questions(20), **holdout).prompts, tmp_path)
    two = load(spec(tmp_path, questions(20)[::-1], **holdout).prompts, tmp_path)
    assert [len(s) for s in (one.train, one.gate, one.test)] == [13, 4, 3]
    assert {r["prompt_id"] for r in one.gate} == {r["prompt_id"] for r in two.gate}
    assert {r["prompt_id"] for r in one.test} == {r["prompt_id"] for r in two.test}
    assert {r["split"] for r in one.gate} == {"gate"}
    assert not {r["prompt_id"] for r in one.train} & {r["prompt_id"] for r in one.gate + one.test}


@pytest.mark.parametrize("holdout", [{"gate": {"rows": 20, "of": "train"}}, {"test": {"rows": 21, "of": "train"}}])
def test_holding_out_everything_is_an_error(tmp_path, holdout):
    with pytest.raises(DataError, match="cannot hold out"):
        load(spec(tmp_path, questions(20), **holdout).prompts, tmp_path)


def test_holding_out_of_a_split_without_files(tmp_path):
    with pytest.raises(SpecError, match="cannot hold out of 'test'"):
        load(spec(tmp_path, questions(20), gate={"rows": 2, "of": "test"}).prompts, tmp_path)


@pytest.mark.parametrize("split", ["gate", "test"])
def test_an_overlap_names_both_places(tmp_path, split):
    write(tmp_path, "held.jsonl", questions(2, start=4))
    with pytest.raises(DataError, match=rf"also a {split} prompt.*held.jsonl:1") as caught:
        prompts.check(spec(tmp_path, questions(5), **{split: "held.jsonl"}), tmp_path / "spec.yaml")
    assert caught.value.where.endswith("train.jsonl:5")


def test_a_pool_smaller_than_a_round(tmp_path):
    with pytest.raises(DataError, match="pool has 3"):
        prompts.check(spec(tmp_path, questions(3), per_round=4), tmp_path / "spec.yaml")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data with GSM8K")
def test_real_gsm8k_rows():
    fields = {"template": "{question}", "reference": "answer", "reference_pattern": r"####\s*(.+)"}
    files = {"train": "gsm8k_train.jsonl", "test": "gsm8k_test.jsonl", "gate": {"rows": 300, "of": "train"}}
    real = spec_of(prompts=files | {"fields": fields})
    assert prompts.check(real, DATA / "spec.yaml") == {"train": 7173, "gate": 300, "test": 1319}
