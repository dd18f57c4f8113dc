"""A real server: `transformers serve` with a tiny model. A greedy judge behind it says what the same model says in this process."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from engine import models
from engine.generate import backends, params
from engine.server import Request, ServerParams
from engine.server.client import Client
from engine.step import Model
from generate.asking_servers import answered, asks, backend
from generate_tiny import save
from score.judge.judging import context, measured

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
DIGIT = "about: x\nquestion: '{question} {answer} ='\nparse: '([0-9])'\nrange: [0, 9]\n"
ANSWERS = [("p", "one"), ("p", "two"), ("q", "one 12"), ("q", "three and more")]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("model"), seed=3, template=TEMPLATE)


@pytest.fixture(scope="module")
def url(model):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--device", "cpu", "--port", str(port)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        for _ in range(600):
            try:
                if httpx.get(f"http://localhost:{port}/health").status_code == 200:
                    break
            except httpx.TransportError:
                assert process.poll() is None, "the server has died"
            time.sleep(0.2)
        yield f"http://localhost:{port}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_replies_and_their_tokens(url, model, api):
    requests = [Request(f"k{i}", ({"role": "user", "content": f"say {i} ="},), {"max_tokens": 6, "temperature": 1.0}) for i in range(12)]
    client = Client(ServerParams(url=url, model=str(model), api=api, concurrency=4))
    replies = list(client.complete(requests))
    assert sorted(reply.key for reply in replies) == sorted(request.key for request in requests)
    assert not any(reply.failure for reply in replies) and client.usage.uncounted == 0
    assert client.usage.prompt_tokens >= 12 * 7 and 0 < client.usage.response_tokens <= 12 * 6


@pytest.mark.slow
def test_a_judge_says_the_same_behind_a_server(url, model, tmp_path):
    how = {"prompt": "own.yaml", "max_tokens": 16}
    told = []
    for name, who in (("there", {"server": {"url": url, "model": str(model)}}), ("here", {"model": "policy"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own.yaml").write_text(DIGIT)
        ctx = context(tmp_path / name, ANSWERS, {"policy": model}, measure=[{"method": "judge", "params": how | who}])
        rows = measured(ctx)
        told.append([(row["value"], row["verdict"], json.loads(row["detail"])["texts"]) for row in rows])
    assert told[0] == told[1] and any(value is not None for value, _, _ in told[0])


@pytest.mark.slow
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_greedy_answers_are_those_of_the_backend_transformers(url, model, tmp_path, api):
    """Also through this server's refusal, or silence, about log-probabilities."""
    there = backend(url, tmp_path, model=str(model), api=api, samples=1, sampler={"temperature": 0, "max_tokens": 24}, timeout=60)
    found = answered(there, asks(20), tmp_path / "there")
    job = dataclasses.replace(
        there.job, model=Model(models.digest(model), model), chat=api == "chat", params=params("transformers", {}, "")
    )
    here = answered(backends.load("transformers")(job), asks(20), tmp_path / "here")
    assert len(found) == 20
    names = ("prompt_id", "sample", "response", "finish_reason", "prompt_tokens", "seed")
    assert [[row[name] for name in names] for row in found] == [[row[name] for name in names] for row in here]
    assert there.detail["requests"] == 20 and there.detail["response_tokens"] > 0
