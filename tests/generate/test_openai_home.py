"""A whole experiment whose answers come from a server: distillation, evaluation of the server's model, and the key in no file."""

import json
import re

import pytest

import loop_home
from engine.server import ServerError
from server.scripted import Scripted, completion, said, script, status

KEY = "sk-test-0123456789abcdef"
PARAMS = "url: '%s', model: big, key_env: RONDO_TEST_KEY, identity: s, backoff: 0.01, price_prompt: 1, price_response: 2"
SERVER = f"backend: openai, params: {{{PARAMS}}}"
TEXT = loop_home.YAML.replace("rounds: 3", "rounds: 1")


def adds(handler, number, body):
    """A model that can add, behind a server that repeats the key in its errors."""
    if number % 10 == 3:
        return status(500, f"key {KEY} met trouble {'x' * 470} {KEY}")(handler, number, body)
    answer = int(re.match(r"\d+", said(body))[0]) + 1
    return handler.send(200, completion(f" Answer: {answer}", prompt=4, response=3))


def files(folder, secret):
    """The files that hold a secret, or more than half of one."""
    half = secret[: len(secret) // 2 + 4].encode()
    return [path for path in folder.rglob("*") if path.is_file() and half in path.read_bytes()]


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("RONDO_TEST_KEY", f"{KEY}\n")


def test_a_policy_trains_on_the_answers_of_a_server(key, tmp_path, capfd):
    with Scripted(adds) as server:
        loop_home.write(tmp_path, TEXT.replace("generate: {", f"generate: {{{SERVER % server.url}, "))
        experiment = loop_home.load(tmp_path)
        experiment.run()
        assert {header["authorization"] for header in server.headers} == {f"Bearer {KEY}"}
        count = server.count
        rows = experiment.lake.read("generations", experiment="loop", rounds=[0], part="rollout").to_pylist()
        assert len(rows) == 96 and {row["model"] for row in rows} == {"big"}
        scores = experiment.lake.read("scores", experiment="loop", rounds=[0], part="rollout/math").to_pylist()
        assert {row["value"] for row in scores} == {1.0}
        evaluated = experiment.lake.read("generations", experiment="loop", part="eval").to_pylist()
        assert evaluated and "big" not in {row["model"] for row in evaluated}, "the policy that was trained is measured"
        detail = experiment.state().entries[0, "generations"].detail
        assert (detail["requests"], detail["prompt_tokens"], detail["response_tokens"]) == (96, 384, 288)
        assert detail["retries"] == count - 96 > 0 and detail["cost"] == pytest.approx((384 + 2 * 288) / 1e6)
        experiment.run()
        assert server.count == count, "what is done is not asked again"
    assert not files(tmp_path, KEY)
    assert KEY not in "".join(capfd.readouterr())


def test_the_model_of_a_server_can_be_measured(key, tmp_path):
    with Scripted(adds) as server:
        loop_home.write(tmp_path, TEXT.replace("evaluate: {", f"evaluate: {{{SERVER % server.url}, "))
        experiment = loop_home.load(tmp_path)
        experiment.run()
        rows = experiment.lake.read("generations", experiment="loop", part="eval").to_pylist()
        assert {row["model"] for row in rows} == {"big"}
        found = experiment.lake.read("evaluations", experiment="loop", rounds=[0]).to_pylist()
        assert {row["value"] for row in found if row["metric"] == "pass@1"} == {1.0}


def test_a_key_that_the_server_repeats_stays_secret_when_the_run_fails(key, tmp_path, capfd):
    words = json.dumps({"error": {"message": "no such key: " + "y" * 480 + KEY}})
    with Scripted(script(then=lambda handler, number, body: handler.send(401, words))) as server:
        loop_home.write(tmp_path, TEXT.replace("generate: {", f"generate: {{{SERVER % server.url}, "))
        with pytest.raises(ServerError, match="no such key") as caught:
            loop_home.load(tmp_path).run()
    assert "sk-test" not in str(caught.value) and "sk-test" not in repr(caught.value.__context__)
    assert not files(tmp_path, KEY) and "sk-test" not in "".join(capfd.readouterr())
