"""Settings of the backend `openai`: what enters the fingerprint, what is sent, and what is found wrong before any request."""

import json

import pytest

from engine.errors import DataError, SpecError
from engine.generate import backends, check, params
from generate.asking_servers import answered, asks, backend
from server.scripted import Scripted, drawn


def test_a_schema_goes_along(tmp_path):
    schema = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    (tmp_path / "answer.json").write_text(json.dumps(schema))
    with Scripted(drawn) as server:
        answered(backend(server.url, tmp_path, samples=1, json_schema="answer.json"), asks(1), tmp_path / "journal")
    form = server.bodies[0]["response_format"]
    assert (form["type"], form["json_schema"]["schema"], form["json_schema"]["strict"]) == ("json_schema", schema, True)
    settings = [
        backends.load("openai").settings(
            params("openai", {"url": "http://x/v1", "model": "m", "json_schema": one}, ""), tmp_path / "s.yaml"
        )
        for one in (schema, "answer.json")
    ]
    assert settings[0] == settings[1], "a file counts by what it says"


def test_the_fingerprint_has_what_answers_depend_on(tmp_path):
    def settings(**own):
        chosen = params("openai", {"url": "http://x/v1", "model": "m"} | own, "generate.params")
        return json.dumps(backends.load("openai").settings(chosen, tmp_path / "spec.yaml"), sort_keys=True)

    same = [{}, {"concurrency": 3}, {"timeout": 9}, {"price_prompt": 1}, {"key_env": "K"}, {"refused": "keep"}, {"url": "http://x/v1/"}]
    assert len({settings(**own) for own in same}) == 1
    other = [{"model": "n"}, {"url": "http://y/v1"}, {"identity": "x"}, {"api": "completions"}, {"send_seed": False}, {"logprobs": False}]
    other += [{"extra": {"min_p": 0.1}}, {"samples_per_request": 2}, {"json_schema": {}}, {"send_top_k": True}]
    other += [{"api": "completions", "separator": "x"}]
    assert len({settings(**own) for own in [{}, *other]}) == 1 + len(other)
    assert settings(identity="one") == settings(identity="one", url="http://elsewhere/v1")


@pytest.mark.parametrize(
    ("own", "error", "words"),
    [
        ({"url": "127.0.0.1:8000"}, SpecError, r"params\.url"),
        ({"extra": {"temperature": 1, "stream": True}}, SpecError, "stream, temperature"),
        ({"json_schema": {"type": "thing"}}, SpecError, "json_schema"),
        ({"json_schema": "nowhere.json"}, DataError, r"nowhere\.json"),
        ({"modle": "m"}, SpecError, "did you mean 'model'"),
    ],
)
def test_bad_settings_are_found_before_any_request(tmp_path, own, error, words):
    with pytest.raises(error, match=words):
        check("openai", {"url": "http://127.0.0.1:1/v1", "model": "m"} | own, "generate.params", tmp_path / "spec.yaml")


def test_samplers_that_cannot_be_sent(tmp_path):
    with Scripted(drawn) as server:
        with pytest.raises(SpecError, match=r"top_k: 7(.|\n)*send_top_k"):
            backend(server.url, tmp_path, sampler={"top_k": 7})
        with pytest.raises(SpecError, match="chat: false"):
            backend(server.url, tmp_path, job={"chat": False})
        for top_k in (7, 0):
            one = backend(server.url, tmp_path, samples=1, sampler={"top_k": top_k}, send_top_k=True)
            answered(one, asks(1), tmp_path / str(top_k))
    assert [body["top_k"] for body in server.bodies] == [7, -1]
