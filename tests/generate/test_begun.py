"""Answers whose beginning is given: how they are filed, and who cannot go on from one."""

from __future__ import annotations

import pyarrow as pa
import pytest

from engine.errors import DataError
from engine.generate.begun import whole
from engine.generate.served.question import questions
from engine.ids import content_id
from engine.tables import CHAT
from generate.asking_servers import backend

BEGUN = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "so "}]


def test_such_answers_are_filed_whole():
    rows = pa.table(
        {
            "messages": pa.array([BEGUN[:1], BEGUN], CHAT),
            "response": ["it is", "it is"],
            "content_id": [content_id("it is")] * 2,
            "meta": pa.array([None, '{"n":1}'], pa.string()),
            "response_tokens": [2, 2],
        }
    )
    found = whole(rows).to_pylist()
    assert [one["response"] for one in found] == ["it is", "so it is"]
    assert [one["content_id"] for one in found] == [content_id("it is"), content_id("so it is")]
    assert [one["meta"] for one in found] == [None, '{"n":1,"prefix":3}'] and [one["response_tokens"] for one in found] == [2, 2]
    assert whole(rows.slice(0, 1)).equals(rows.slice(0, 1))


def test_a_server_is_not_asked_to_go_on(tmp_path):
    one = backend("http://127.0.0.1:1/v1", tmp_path)
    asks = one.prepare(pa.table({"prompt_id": ["p1"], "messages": pa.array([BEGUN], CHAT)}))
    with pytest.raises(DataError, match="a server takes it for a finished answer"):
        list(questions(one.job, one.job.params, asks))
