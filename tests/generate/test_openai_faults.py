"""The backend `openai` through servers that fail, die and come back, and through a kill of its own process."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.errors import StepError
from generate.asking_servers import answered, asks, backend
from server import scripted
from server.scripted import Scripted, drawn, faulty, slowly, status
from server.test_client import free_port

ROOT = Path(__file__).parents[2]


def plain(rows):
    return [row | {"seconds": 0} for row in rows]


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """What a server without faults says to 200 prompts, five times each."""
    folder = tmp_path_factory.mktemp("thousand")
    with Scripted(drawn) as server:
        return plain(answered(backend(server.url, folder, samples=5, identity="s"), asks(200), folder))


def test_a_thousand_requests_through_faults_are_a_thousand_rows(thousand, tmp_path):
    """A tenth of the tries meets 429 (with and without Retry-After), 500, silence, a torn body or a dropped connection."""
    with Scripted(faulty(0.1, act=drawn, hang=6.0)) as server:
        one = backend(server.url, tmp_path, samples=5, identity="s", timeout=5.0, attempts=12, concurrency=32)
        found = answered(one, asks(200), tmp_path / "journal")
        tries = server.count
    assert plain(found) == thousand and len(found) == 1000
    assert one.detail["requests"] == 1000 and one.detail["retries"] == tries - 1000 > 50


def start(port, seconds="0.01"):
    code = [sys.executable, str(Path(scripted.__file__)), str(port), seconds, "draw"]
    process = subprocess.Popen(code, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("http")
    return process


def end(process):
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_server_that_is_killed_and_comes_back_is_waited_for(thousand, tmp_path):
    """Twice, and each time for longer than a request's tries would last: they do not count while nobody is there."""
    port, dice = free_port(), random.Random(2)
    process = start(port)
    one = backend(f"http://127.0.0.1:{port}/v1", tmp_path, samples=5, identity="s", attempts=3, backoff=0.05, concurrency=8)
    kills = sorted(dice.sample(range(20, 250), 2))
    found = []
    try:
        for rows in one.generate(asks(60).combine_chunks().to_batches()[0]):
            found += rows.to_pylist()
            if kills and len(found) == kills[0]:
                kills.pop(0)
                end(process)
                time.sleep(0.5)
                process = start(port)
    finally:
        end(process)
    known = {row["generation_id"]: row for row in thousand}
    assert not kills and len(found) == 300
    assert {row["generation_id"]: row for row in plain(found)} == {row["generation_id"]: known[row["generation_id"]] for row in found}


def test_a_server_that_is_gone_ends_the_step_and_what_came_is_kept(tmp_path):
    with Scripted(slowly(0.005, drawn)) as server:
        one = backend(server.url, tmp_path, samples=1, attempts=3, concurrency=4, identity="s", patience=1.0)

        def dying(handler, number, body):
            (drawn if number < 40 else status(503, "going down"))(handler, number, body)

        server.script = dying
        with pytest.raises(StepError) as caught:
            answered(one, asks(100), tmp_path / "journal")
        words = str(caught.value)
        assert "of 100 requests failed for good" in words and "going down" in words and "run again" in words and server.url in words
        server.script, before = drawn, server.count
        again = backend(server.url, tmp_path, samples=1, identity="s")
        assert len(answered(again, asks(100), tmp_path / "journal")) == 100 and server.count - before == 60
        assert again.detail["requests"] == 100


def test_nobody_at_the_address_is_said_within_the_tries(tmp_path):
    one = backend(f"http://127.0.0.1:{free_port()}/v1", tmp_path, attempts=2)
    with pytest.raises(StepError, match=r"8 of 20 requests failed for good(.|\n)*the connection failed(.|\n)*tried 2 times"):
        answered(one, asks(10), tmp_path / "journal")


KILLED = """
import sys
from pathlib import Path
from generate.asking_servers import answered, asks, backend

answered(backend(sys.argv[1], Path(sys.argv[2]), samples=2, concurrency=4, identity="s"), asks(100), Path(sys.argv[2]) / "journal")
"""


def test_a_killed_step_asks_again_only_what_was_in_flight(tmp_path):
    with Scripted(slowly(0.01, drawn)) as server:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/tests"}
        process = subprocess.Popen([sys.executable, "-c", KILLED, server.url, str(tmp_path)], env=environment)
        while server.count < 60:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.2)  # what the dead client had sent still arrives
        sent = server.count
        lines = (tmp_path / "journal" / "answers.jsonl").read_bytes().count(b"\n")
        assert sent - 2 * 4 <= lines <= sent
        one = backend(server.url, tmp_path, samples=2, concurrency=4, identity="s")
        found = answered(one, asks(100), tmp_path / "journal")
        assert server.count - sent == 200 - lines and len(found) == 200
        assert one.detail["requests"] == 200
        assert plain(found) == plain(answered(backend(server.url, tmp_path, samples=2, identity="s"), asks(100), tmp_path / "whole"))
