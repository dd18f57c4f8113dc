import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import DataError, SpecError, StepError
from engine.generate import Job, backends, params
from engine.generate.asks import with_samples
from engine.ids import prompt_id
from engine.tables import CHAT
from generate_tiny import CPU, prompts, spec

ASKED = ["one?", "two?", "three?"]


def _write(folder, rows, name="answers.jsonl"):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def _run(folder, texts=ASKED, samples=2, entry="policy", chats=None, **values):
    """Rows and what the ledger is told; `chats` in place of `texts`: whole prompts."""
    chosen = params("recorded", {"path": "answers.jsonl"} | values, "generate.params")
    job = Job(chosen, spec().generate, samples, None, None, CPU, 0, 0, "generations", False, folder / "spec.yaml", entry)
    backend = backends.load("recorded")(job)
    asked = prompts(texts).select(["prompt_id", "messages"])
    if chats:
        asked = pa.table({"prompt_id": [prompt_id(chat) for chat in chats], "messages": pa.array(chats, CHAT)})
    ready = backend.prepare(asked)
    return [row for rows in backend.generate(ready.combine_chunks().to_batches()[0]) for row in rows.to_pylist()], backend.detail


def _said(rows):
    return [(row["actor"], row["model"], row["sample"], row["response"]) for row in rows]


def test_answers_are_taken_in_file_order(tmp_path):
    rows = [{"prompt": text, "response": f"{text} {i}"} for i in range(3) for text in ASKED]
    _write(tmp_path, [*rows, {"prompt": "another?", "response": "x"}])
    found, detail = _run(tmp_path)
    assert [(r["sample"], r["response"]) for r in found] == [(i, f"{text} {i}") for text in ASKED for i in range(2)]
    assert detail == {"prompts_skipped": 0, "prompts_partly_answered": 0, "answers_unused": 3, "answers_unmatched": 1}
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
    found, _ = _run(tmp_path, ["one?", "two?"], take="all", **names)
    expected = [("x", "tutor", "big"), ("y", "tutor", "big"), ("x", "a", "b"), ("x", "a", "b")]
    assert [(r["response"], r["actor"], r["model"]) for r in found] == expected
    assert len({r["generation_id"] for r in found}) == 4  # equal answers of one actor are two answers
    found, _ = _run(tmp_path, ["one?", "two?"], take="all", duplicates="first", **names)
    assert [r["response"] for r in found] == ["x", "y", "x"]
    _write(tmp_path, [{"id": prompt_id(message), "response": ["x", "y"]}])
    assert len(_run(tmp_path, ["one?"], prompt_id="id")[0]) == 2


def test_a_prompt_is_found_by_its_text_with_and_without_the_system_message(tmp_path):
    chat = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "one?"}]
    _write(
        tmp_path, [{"prompt": q, "response": q} for q in ("one?", "be kind\none?", "be cruel\none?")] + [{"prompt": chat, "response": "z"}]
    )
    found, detail = _run(tmp_path, chats=[chat], take="all")
    assert [r["response"] for r in found] == ["one?", "be kind\none?", "z"]
    assert detail["answers_unmatched"] == 1


def test_conversations_end_with_the_answer(tmp_path):
    def turns(*texts):
        return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]

    answer = [{"role": "assistant", "content": "c"}]
    _write(
        tmp_path, [{"prompt": "one?", "response": turns("one?", "a")}, {"prompt": turns("one?"), "response": [turns("one?", "b"), answer]}]
    )
    assert [r["response"] for r in _run(tmp_path, ["one?"], take="all")[0]] == ["a", "b", "c"]
    # a file of whole conversations and no other column: the prompt is what stands before the answer
    _write(tmp_path, [{"messages": turns("one?", "a")}, {"messages": turns("one?", "hm", "two?", "b")}])
    found, _ = _run(tmp_path, chats=[turns("one?"), turns("one?", "hm", "two?")], samples=1, prompt="messages", response="messages")
    assert [r["response"] for r in found] == ["a", "b"]
    for wrong, words in {
        "of another prompt": ({"prompt": "one?", "response": turns("two?", "a")}, "asks 'two\\?', column 'prompt' something else"),
        "that ends with a question": ({"prompt": "one?", "response": turns("one?")}, "ends with the assistant's answer"),
        "of two answers": ({"prompt": "one?", "response": [*turns("one?", "a"), *answer]}, "ends with the assistant's answer"),
    }.values():
        _write(tmp_path, [wrong])
        with pytest.raises(DataError, match=words) as caught:
            _run(tmp_path, ["one?"], samples=1)
        assert caught.value.where.endswith("answers.jsonl:1")


def test_a_column_an_actor_and_a_null_is_no_answer(tmp_path):
    _write(
        tmp_path, [{"prompt": "one?", "a": "x", "b": ["y", "z"]}, {"prompt": "two?", "a": None, "b": "w"}, {"prompt": "three?", "a": "v"}]
    )
    named = {"responses": {"gpt": "a", "llama": "b"}}
    found, detail = _run(tmp_path, samples=1, missing="skip", **named)
    assert _said(found) == [
        ("gpt", "recorded", 0, "x"),
        ("llama", "recorded", 1, "y"),
        ("llama", "recorded", 0, "w"),
        ("gpt", "recorded", 0, "v"),
    ]
    two, three = (prompt_id([{"role": "user", "content": text}]) for text in ASKED[1:])
    assert detail["unanswered"] == {"gpt": {"count": 1, "prompts": [two]}, "llama": {"count": 1, "prompts": [three]}}
    assert (detail["prompts_skipped"], detail["prompts_partly_answered"], detail["answers_unused"]) == (0, 2, 1)
    with pytest.raises(DataError, match=rf"2 of 3 prompts have fewer than 1 recorded answers:\n  {two} \(gpt: 0\): 'two\?'"):
        _run(tmp_path, samples=1, **named)
    assert len(_run(tmp_path, take="all", **named)[0]) == 5  # nobody is without any answer
    assert _said(_run(tmp_path, ["three?"], samples=1, actors=["gpt"], **named)[0]) == [("gpt", "recorded", 0, "v")]
    with pytest.raises(DataError, match="no answer of claude in the files") as caught:
        _run(tmp_path, actors=["gpt", "claude"], **named)
    assert "['gpt']" in caught.value.hint
    with pytest.raises(SpecError, match="leave `response` and `actor` out"):
        _run(tmp_path, actor="a", response="a", **named)


def test_nested_answers_of_several_models(tmp_path):
    nested = [{"model": "big/one", "text": "x"}, {"model": "two", "text": "y"}]
    flat = {"model": ["big/one"], "text": ["z"]}  # how some libraries store a list of objects
    names = {"response": "all.text", "model": "all.model"}
    _write(tmp_path, [{"prompt": "one?", "all": nested}, {"prompt": "one?", "all": flat}])
    found, _ = _run(tmp_path, ["one?"], samples=3, entry="teachers", **names)
    assert _said(found) == [("teachers", "big/one", 0, "x"), ("teachers", "two", 1, "y"), ("teachers", "big/one", 2, "z")]
    found, _ = _run(tmp_path, ["one?"], take="all", actor="all.model", **names)
    assert [actor for actor, *_ in _said(found)] == ["big/one", "two", "big/one"]
    chosen = params("recorded", {"path": "answers.jsonl", "actor": "all.model"} | names, "generate.params")
    assert backends.load("recorded").actors(chosen, tmp_path / "spec.yaml", "policy") == ["big/one", "two"]
    _write(tmp_path, [{"prompt": "one?", "all": [{"model": "two"}]}])
    with pytest.raises(DataError, match=r"column 'all\.text': expected an answer"):
        _run(tmp_path, ["one?"], samples=1, **names)
    _write(tmp_path, [{"prompt": "one?", "all": {"model": ["a", "b"], "text": ["x"]}}])
    with pytest.raises(DataError, match="1 names for 1 answers, found"):
        _run(tmp_path, ["one?"], samples=1, **names)


def test_every_kind_of_file_gives_the_same_rows(tmp_path):
    from datasets import Dataset

    rows = [{"prompt": f"{n}?", "response": [[{"role": "assistant", "content": f"{n}{k}"}] for k in "ab"], "model": "m"} for n in range(6)]
    _write(tmp_path, rows)
    Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"), num_shards=2)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "all.parquet")
    (tmp_path / "pieces").mkdir()
    for number in range(2):
        pq.write_table(pa.Table.from_pylist(rows[number * 3 : number * 3 + 3]), tmp_path / "pieces" / f"{number}.parquet")
    lines = ["prompt,response,model", *(f"{n}?,{n}{k},m" for n in range(6) for k in "ab")]
    (tmp_path / "flat.csv").write_text("\n".join(lines) + "\n")
    found = [
        _said(_run(tmp_path, [f"{n}?" for n in range(6)], path=path, model="model")[0])
        for path in ("answers.jsonl", "saved", "all.parquet", "pieces", "flat.csv", ["pieces/0.parquet", "pieces/1.parquet"])
    ]
    assert found[0] == [("policy", "m", k, f"{n}{'ab'[k]}") for n in range(6) for k in range(2)]
    assert all(one == found[0] for one in found)


def test_missing_answers_are_named_or_reported(tmp_path):
    _write(tmp_path, [{"prompt": "one?", "response": ["x", "y"]}, {"prompt": "two?", "response": "x"}])
    with pytest.raises(DataError, match=r"2 of 3 prompts have fewer than 2 recorded answers(.|\n)*\(1\): 'two\?'(.|\n)*\(0\): 'three\?'"):
        _run(tmp_path)
    found, detail = _run(tmp_path, missing="skip")
    assert [r["response"] for r in found] == ["x", "y"]
    two, three = (prompt_id([{"role": "user", "content": text}]) for text in ("two?", "three?"))
    assert (detail["prompts_skipped"], detail["answers_unused"]) == (2, 1)
    assert detail["unanswered"] == {"policy": {"count": 2, "prompts": [two, three]}}
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
    with pytest.raises(DataError, match="no column 'b'"):
        _run(tmp_path, responses={"gpt": "response", "llama": "b"})
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


def test_files_that_name_nobody_answer_for_the_actor_of_the_spec(tmp_path):
    _write(tmp_path, [{"prompt": "one?", "response": "x"}])
    mine, other = (_run(tmp_path, ["one?"], 1, actor)[0][0] for actor in ("policy", "crowd"))
    assert (mine["actor"], other["actor"]) == ("policy", "crowd")
    assert mine["generation_id"] != other["generation_id"] and mine["content_id"] == other["content_id"]


def test_a_number_that_the_files_do_not_reach_is_an_error(tmp_path):
    _write(tmp_path, [{"prompt": "one?", "response": "x"}])
    chosen = params("recorded", {"path": "answers.jsonl", "take": "all"}, "generate.params")
    backend = backends.load("recorded")(Job(chosen, spec().generate, 2, None, None, CPU, 0, 0, "generations", False, tmp_path / "s.yaml"))
    asks = with_samples(prompts(["one?"]).select(["prompt_id", "messages"]), [[0, 1]])
    with pytest.raises(StepError, match=r"answer 1 to prompt .* is asked, and the files have 1"):
        list(backend.generate(asks.to_batches()[0]))
