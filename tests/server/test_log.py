"""Replies on disk: what a killed process had received is not asked again, a torn line is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from engine.errors import LakeError
from engine.lines import Lines
from engine.server import Choice, Failure, Reply, Request, ServerParams, Token
from engine.server.client import Client
from engine.server.log import complete, replies
from server.scripted import Scripted, echo, late, said, script, status

KILLED = """
import sys
from pathlib import Path
from engine.server import Request, ServerParams
from engine.server.client import Client
from engine.server.log import complete

requests = [Request(f"k{i}", ({"role": "user", "content": f"say {i}"},)) for i in range(200)]
client = Client(ServerParams(url=sys.argv[1], model="m", concurrency=4))
for reply in complete(client, requests, Path(sys.argv[2])):
    print(reply.key, flush=True)
"""


def asked(n):
    return [Request(f"k{i}", ({"role": "user", "content": f"say {i}"},)) for i in range(n)]


def test_what_is_read_is_what_was_written(tmp_path):
    given = [
        Reply("a", (Choice("ä\n", "stop", (Token("ä", -0.25, {"ä": -0.25, "b": -2.0}),)), Choice("", None)), 5, 7, 2, 0.5),
        Reply("b", (Choice("x"),), None, None),
    ]
    with Lines(tmp_path / "deep" / "log") as log:
        for reply in given:
            log.append([asdict(reply)])
    assert replies(Lines(tmp_path / "deep" / "log")) == {"a": given[0], "b": given[1]}


def test_a_torn_line_never_was(tmp_path):
    path = tmp_path / "log"
    with Lines(path) as log:
        log.append([asdict(Reply("a", (Choice("x"),)))])
        log.append([asdict(Reply("b", (Choice("y"),)))])
    path.write_bytes(path.read_bytes()[:-9])
    with Lines(path) as log:
        assert list(replies(log)) == ["a"]
        log.append([asdict(Reply("c", (Choice("z"),)))])
    assert list(replies(Lines(path))) == ["a", "c"]


def test_a_line_that_is_no_reply_names_its_place(tmp_path):
    (tmp_path / "log").write_bytes(b'{"key": 1}\n')
    with pytest.raises(LakeError, match="log:1"):
        replies(Lines(tmp_path / "log"))


def test_failures_are_tried_again_and_the_rest_is_not(tmp_path):
    def act(handler, number, body):
        (status(400, "no") if said(body) == "say 1" else echo)(handler, number, body)

    with Scripted(act) as server:
        first = list(complete(Client(ServerParams(url=server.url, model="m")), asked(4), tmp_path / "log"))
        assert [reply.key for reply in first if reply.failure] == ["k1"] and server.count == 4
        server.script = script()
        one = Client(ServerParams(url=server.url, model="m"))
        again = {reply.key: reply for reply in complete(one, asked(4), tmp_path / "log")}
    assert server.count == 5 and one.usage.requests == 1
    assert again["k1"].choices[0].text == "re: say 1" and again["k1"].failure is None
    assert {key: again[key] for key in ("k0", "k2", "k3")} == {reply.key: reply for reply in first if reply.key != "k1"}
    assert Failure("error", "x") != Failure("timeout", "x")


def test_a_killed_client_loses_only_what_was_in_flight(tmp_path):
    with Scripted(late(0.01)) as server:
        process = subprocess.Popen([sys.executable, "-c", KILLED, server.url, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True)
        seen = [process.stdout.readline().strip() for _ in range(30)]
        os.kill(process.pid, signal.SIGKILL)
        seen += process.stdout.read().split()
        process.wait()
        process.stdout.close()
        time.sleep(0.1)  # what the dead client had sent still arrives
        sent = server.count
        kept = replies(Lines(tmp_path / "log"))
        assert set(seen) <= set(kept) and len(kept) >= sent - 4 - 1 and len(kept) < 200
        again = list(complete(Client(ServerParams(url=server.url, model="m", concurrency=4)), asked(200), tmp_path / "log"))
    assert server.count - sent == 200 - len(kept)
    assert {reply.key: reply.choices[0].text for reply in again} == {f"k{i}": f"re: say {i}" for i in range(200)} and len(again) == 200
