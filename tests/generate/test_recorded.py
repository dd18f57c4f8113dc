import json

import pyarrow as pa
import pytest

from engine.errors import DataError, SpecError
from engine.generate import Job, backends, params
from engine.ids import prompt_id
from generate_tiny import CPU, prompts, spec

ASKED = ["one?", "two?", "three?"]


def _write(folder, rows, name="answers.jsonl"):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def _run(folder, texts=ASKED, samples=2, **values):
    job = Job(
        params("recorded", {"path": "answers.jsonl"} | values, "generate.params"),
        spec().generate,
        samples,
        None,
        None,
        CPU,
        0,
        0,
        "generations",
        False,
        folder / "spec.yaml",
    )
    backend = backends.load("recorded")(job)
    ready = backend.prepare(prompts(texts).select(["prompt_id", "messages"]))
    return [row for rows in backend.generate(ready.combine_chunks().to_batches()[0]) for row in rows.to_pylist()], backend.detail


def test_answers_are_taken_in_file_order(tmp_path):
    rows = [{"prompt": text, "response": f"{text} {i}"} for i in range(3) for text in ASKED]
    _write(tmp_path, [*rows, {"prompt": "another?", "response": "x"}])
    found, detail = _run(tmp_path)
    assert [(r["sample"], r["response"]) for r in found] == [(i, f"{text} {i}") for text in ASKED for i in range(2)]
    assert detail == {"prompts_skipped": 0, "answers_unused": 3}
    assert {(r["actor"], r["model"], r["finish_reason"]) for r in found} == {("policy", "recorded", "stop")}
    assert all(r[name] is None for r in found for name in ("seed", "temperature", "logprob", "response_tokens"))
    assert len({r["generation_id"] for r in found}) == 6


def test_lists_messages_ids_and_names(tmp_path):
    message = [{"role": "user", "content": "one?"}]
    _write(
        tmp_path,
        [
            {"q": message, "a": ["x", "y"], "who": "tutor", "by": "big"},
            {"q": "  two? ", "a": "x", "who": "a", "by": "b"},
            {"q": "two?", "a": "x", "who": "a", "by": "b"},
        ],
    )
    names = {"prompt": "q", "response": "a", "actor": "who", "model": "by"}
    found, _ = _run(tmp_path, ["one?", "two?"], **names)
    expected = [("x", "tutor", "big"), ("y", "tutor", "big"), ("x", "a", "b"), ("x", "a", "b")]
    assert [(r["response"], r["actor"], r["model"]) for r in found] == expected
    _write(tmp_path, [{"id": prompt_id(message), "response": ["x", "y"]}])
    assert len(_run(tmp_path, ["one?"], prompt_id="id")[0]) == 2


def test_the_last_user_message_is_enough(tmp_path):
    _write(tmp_path, [{"prompt": "one?", "response": "x"}])
    chosen = params("recorded", {"path": "answers.jsonl"}, "generate.params")
    job = Job(chosen, spec().generate, 1, None, None, CPU, 0, 0, "generations", False, tmp_path / "spec.yaml")
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "one?"}]
    assert backends.load("recorded")(job).prepare(pa.table({"prompt_id": ["p"], "messages": [messages]})).num_rows == 1


def test_missing_answers_are_named_or_reported(tmp_path):
    _write(tmp_path, [{"prompt": "one?", "response": ["x", "y"]}, {"prompt": "two?", "response": "x"}])
    with pytest.raises(DataError, match=r"2 of 3 prompts have fewer than 2 recorded answers(.|\n)*\(1\): 'two\?'(.|\n)*\(0\): 'three\?'"):
        _run(tmp_path)
    found, detail = _run(tmp_path, missing="skip")
    assert [r["response"] for r in found] == ["x", "y"]
    assert detail == {"prompts_skipped": 2, "answers_unused": 1}
    with pytest.raises(DataError, match="3 of 3"):
        _run(tmp_path, samples=5, missing="skip")


def test_ids_follow_the_answer_and_not_the_file(tmp_path):
    _write(tmp_path, [{"prompt": "one?", "response": ["x", "y"]}])
    before, _ = _run(tmp_path, ["one?"])
    _write(tmp_path, [{"prompt": "one?", "response": ["x", "z"]}, {"prompt": "two?", "response": "n"}])
    after, _ = _run(tmp_path, ["one?"])
    assert before[0]["generation_id"] == after[0]["generation_id"]
    assert before[1]["generation_id"] != after[1]["generation_id"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "one?", "response": None}, "column 'response'"),
        ({"prompt": "one?", "response": []}, "column 'response'"),
        ({"prompt": "one?", "response": ["x", None]}, "column 'response'"),
        ({"prompt": "one?", "response": 3}, "column 'response'"),
        ({"prompt": " ", "response": "x"}, "column 'prompt'"),
        ({"prompt": [{"role": "user"}], "response": "x"}, "column 'prompt'"),
        ({"response": "x"}, "column 'prompt'"),
    ],
)
def test_a_wrong_row_names_its_line(tmp_path, row, words):
    _write(tmp_path, [{"prompt": "one?", "response": "x"}, row])
    with pytest.raises(DataError, match=words) as caught:
        _run(tmp_path)
    assert caught.value.where.endswith("answers.jsonl:2")


def test_wrong_settings_name_the_nearest(tmp_path):
    _write(tmp_path, [{"prompt": "one?", "response": "x"}])
    with pytest.raises(DataError, match="no column 'answer'"):
        _run(tmp_path, response="answer")
    with pytest.raises(SpecError, match=r"generate.params.respons: .*did you mean 'response'"):
        params("recorded", {"path": "a", "respons": "x"}, "generate.params")
    with pytest.raises(SpecError, match=r"generate\.params\.path: the backend 'recorded' needs this setting"):
        params("recorded", {}, "generate.params")


def test_settings_follow_the_bytes_of_the_file(tmp_path):
    backend, chosen = backends.load("recorded"), params("recorded", {"path": "answers.jsonl"}, "generate.params")
    moved = params("recorded", {"path": "b/same.jsonl"}, "generate.params")
    (tmp_path / "b").mkdir()
    for name in ("answers.jsonl", "b/same.jsonl"):
        _write(tmp_path, [{"prompt": "one?", "response": "x"}], name)
    before = backend.settings(chosen, tmp_path / "spec.yaml")
    assert backend.settings(moved, tmp_path / "spec.yaml") == before
    _write(tmp_path, [{"prompt": "one?", "response": "other"}])
    assert backend.settings(chosen, tmp_path / "spec.yaml") != before
