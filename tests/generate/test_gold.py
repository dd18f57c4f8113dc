import json

import pyarrow as pa
import pytest

from engine import macros
from engine.errors import DataError, SpecError
from engine.generate import Job, backends, check, params
from generate_tiny import CPU, prompts, spec

FORMS = [{}, {"form": "It is {gold}."}, {"path": "$.solution"}, {"path": "$.steps[1]", "form": "#### {gold}"}]


def _asked(references, metas):
    rows = prompts([f"q{i}?" for i in range(len(references))]).select(["prompt_id", "messages"])
    metas = [None if meta is None else json.dumps(meta) for meta in metas]
    return rows.append_column("reference", pa.array(references, pa.string())).append_column("meta", pa.array(metas, pa.string()))


def _run(folder, asked, actor="gold", **values):
    job = Job(params("gold", values, "f"), spec().generate, 1, None, None, CPU, 0, 0, "generations", False, folder / "spec.yaml", actor)
    backend = backends.load("gold")(job)
    batch = backend.prepare(asked).combine_chunks().to_batches()[0]
    return [row for rows in backend.generate(batch) for row in rows.to_pylist()], backend.detail


def test_the_reference_is_the_answer(tmp_path):
    found, detail = _run(tmp_path, _asked([" 7\n", "8"], [None, None]))
    assert [(r["actor"], r["model"], r["sample"], r["response"], r["finish_reason"]) for r in found] == [
        ("gold", "gold", 0, "7", "stop"),
        ("gold", "gold", 0, "8", "stop"),
    ]
    assert detail == {"prompts_skipped": 0}
    assert all(r[name] is None for r in found for name in ("seed", "temperature", "logprob", "response_tokens"))


@pytest.mark.parametrize("values", FORMS)
def test_it_is_what_the_macro_says(tmp_path, values):
    metas = [{"solution": "a\u00e4 'b'", "steps": ["x", "y\nz"]}, {"solution": " 5 ", "steps": ["x", 7]}]
    asked = _asked(["1", " {gold} "], metas)
    found, _ = _run(tmp_path, asked, **values)
    import duckdb

    db = duckdb.connect()
    for statement in macros.script():
        db.execute(statement)
    db.register("asked", asked)
    given = {"path": None, "form": "{gold}"} | values
    expected = db.execute("select gold_answer(prompt_id, meta, reference, $path, $form) from asked", given).fetchall()
    assert [(r["response"],) for r in found] == expected


def test_prompts_without_one_are_named_or_counted(tmp_path):
    asked = _asked(["1", None, " "], [{"s": None}, {"s": "x"}, None])
    ids = asked["prompt_id"].to_pylist()
    with pytest.raises(DataError, match=rf"2 of 3 prompts have no gold answer \(no reference\):\n  {ids[1]}: 'q1\?'"):
        _run(tmp_path, asked)
    with pytest.raises(DataError, match=rf"nothing at \$\.s in their meta\):\n  {ids[0]}"):
        _run(tmp_path, asked, path="$.s")
    found, detail = _run(tmp_path, asked, missing="skip", actor="teacher")
    assert [r["prompt_id"] for r in found] == ids[:1]
    assert detail == {"prompts_skipped": 2, "unanswered": {"teacher": {"count": 2, "prompts": ids[1:]}}}
    with pytest.raises(DataError, match="3 of 3"):
        _run(tmp_path, asked, missing="skip", path="$.nothing")


def test_another_answer_or_actor_has_another_id(tmp_path):
    ids = [
        _run(tmp_path, _asked([reference], [None]), actor)[0][0]["generation_id"]
        for reference, actor in (("1", "gold"), ("2", "gold"), ("1", "b"))
    ]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"form": "the answer"}, r"params\.form: expected a text with \{gold\}"),
        ({"path": "solution"}, r"params\.path: expected a JSON path"),
        ({"path": "$.a["}, r"params\.path: '\$\.a\[' is no JSON path to one text"),
        ({"path": "$.*"}, r"params\.path: '\$\.\*' is no JSON path to one text"),
        ({"paht": "$.a"}, "did you mean 'path'"),
    ],
)
def test_wrong_settings_stop_before_any_work(tmp_path, values, words):
    with pytest.raises(SpecError, match=words):
        check("gold", values, "generate.params", tmp_path / "spec.yaml")
