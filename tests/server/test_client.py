"""The client against a server that fails in every way that servers do: each request ends exactly once, within its bounds."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from engine.errors import SpecError
from engine.server import ERROR, TIMEOUT, Request, ServerError, ServerParams
from engine.server.client import Client
from server import scripted
from server.scripted import Scripted, echo, script, status


def client(server, **params):
    return Client(ServerParams(url=server.url, model="m", **{"backoff": 0.01, **params}))


def requests(n):
    return [Request(f"k{i:04d}", ({"role": "user", "content": f"say {i}"},), {"temperature": 0.5, "seed": i}) for i in range(n)]


def texts(replies):
    return {reply.key: reply.choices[0].text for reply in replies}


def test_a_request_carries_what_it_was_given_and_the_reply_what_the_server_said():
    with Scripted(echo) as server:
        one = client(server, extra={"user": "x"}, limit_field="max_completion_tokens")
        (reply,) = one.complete([Request("a", ({"role": "user", "content": "hi"},), {"max_tokens": 7, "seed": 3})])
    assert server.bodies == [
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], "seed": 3, "max_completion_tokens": 7, "user": "x"}
    ]
    assert (reply.key, reply.choices[0].text, reply.choices[0].finish_reason) == ("a", "re: hi", "stop")
    assert (reply.prompt_tokens, reply.response_tokens, reply.attempts, reply.failure) == (3, 2, 1, None)
    assert "authorization" not in {name.lower() for name in server.headers[0]}


FAULTS = {
    "429": status(429),
    "500": status(500, "oops"),
    "503": status(503),
    "torn": scripted.torn,
    "short": scripted.short,
    "drop": scripted.drop,
    "no completion": lambda handler, number, body: handler.send(200, '{"error": {"message": "later"}}'),
    "late": scripted.late(0.6),
    "dribble": scripted.dribble(2.0),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_of_each_kind_costs_one_more_try(fault):
    with Scripted(script(FAULTS[fault])) as server:
        (reply,) = client(server, timeout=0.3).complete(requests(1))
    assert (reply.failure, reply.attempts, reply.choices[0].text) == (None, 2, "re: say 0")
    assert server.count == 2


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_retry_after_is_waited_for(kind):
    wait = "1" if kind == "seconds" else formatdate(time.time() + 2, usegmt=True)
    with Scripted(script(status(429, retry_after=wait))) as server:
        (reply,) = client(server).complete(requests(1))
    assert reply.attempts == 2 and server.times[1] - server.times[0] >= 0.9


def test_a_server_that_asks_for_more_patience_than_there_is_fails_at_once():
    with Scripted(script(then=status(429, "come back tomorrow", retry_after="86400"))) as server:
        (reply,) = client(server, patience=60).complete(requests(1))
    assert server.count == 1 and reply.failure.kind == ERROR
    assert "come back tomorrow" in reply.failure.words and "86400 s" in reply.failure.words


@pytest.mark.parametrize(("act", "kind", "words"), [(status(500, "it burns"), ERROR, "it burns"), (scripted.late(0.5), TIMEOUT, "0.1 s")])
def test_tries_are_bounded_and_the_last_words_are_kept(act, kind, words):
    with Scripted(script(then=act)) as server:
        (reply,) = client(server, attempts=3, timeout=0.1).complete(requests(1))
    assert (server.count, reply.attempts, reply.failure.kind, reply.choices) == (3, 3, kind, ())
    assert words in reply.failure.words


def test_seconds_are_bounded_too():
    with Scripted(script(then=status(503))) as server:
        began = time.monotonic()
        (reply,) = client(server, attempts=1000, patience=0.5, backoff=0.05).complete(requests(1))
    assert reply.failure and time.monotonic() - began < 5 and 2 <= server.count < 30


def test_a_request_that_is_refused_is_not_sent_again_and_others_go_on():
    def act(handler, number, body):
        (status(400, "too long: 9000 tokens") if scripted.said(body) == "say 1" else echo)(handler, number, body)

    with Scripted(act) as server:
        replies = {reply.key: reply for reply in client(server).complete(requests(3))}
    assert server.count == 3
    assert replies["k0001"].failure.words == "HTTP 400: too long: 9000 tokens" and replies["k0001"].attempts == 1
    assert [replies[key].failure for key in ("k0000", "k0002")] == [None, None]


@pytest.mark.parametrize("code", [401, 403, 404, 302])
def test_what_is_wrong_for_every_request_stops_at_once(code):
    with Scripted(script(then=status(code, "no such thing"))) as server, pytest.raises(ServerError, match="no such thing") as caught:
        list(client(server, concurrency=2).complete(requests(50)))
    assert server.count <= 4 and server.url in str(caught.value)


def test_a_spent_quota_is_no_reason_to_wait():
    def act(handler, number, body):
        handler.send(429, '{"error": {"message": "you exceeded your quota", "code": "insufficient_quota"}}')

    with Scripted(act) as server, pytest.raises(ServerError, match="exceeded your quota"):
        list(client(server).complete(requests(5)))


def test_a_thousand_requests_through_a_bad_server_end_once_each():
    """A tenth of all tries goes wrong in some way; nothing is lost or doubled, and every token is counted."""
    chance = random.Random(1)
    bad = [status(429), status(429, retry_after="0"), status(500), scripted.torn, scripted.short, scripted.drop]
    plan = [chance.choice(bad) if chance.random() < 0.1 else echo for _ in range(3000)]
    with Scripted(script(*plan)) as server:
        one = client(server, concurrency=32)
        replies = list(one.complete(requests(1000)))
    assert sorted(reply.key for reply in replies) == [f"k{i:04d}" for i in range(1000)]
    assert texts(replies) == {f"k{i:04d}": f"re: say {i}" for i in range(1000)}
    assert all(reply.attempts <= 8 for reply in replies)
    assert sum(reply.attempts for reply in replies) == server.count == 1000 + one.usage.retries
    faults = sum(act is not echo for act in plan[: server.count])
    assert one.usage.retries == faults > 50
    assert (one.usage.requests, one.usage.failures, one.usage.uncounted) == (1000, 0, 0)
    assert (one.usage.prompt_tokens, one.usage.response_tokens) == (3000, 2000)


def test_requests_in_flight_follow_what_the_server_takes():
    """A server that takes four at a time: the client keeps near that instead of knocking with 32."""

    def act(handler, number, body):
        with handler.server.lock:
            full = handler.server.now > 4
        if full:
            return status(429)(handler, number, body)
        time.sleep(0.01)
        return echo(handler, number, body)

    with Scripted(act) as server:
        replies = list(client(server, concurrency=32, attempts=50).complete(requests(300)))
    assert len(texts(replies)) == 300
    assert 300 <= server.count < 900  # with 32 always in flight there are thousands


def test_prices_make_a_cost():
    with Scripted(echo) as server:
        one = client(server, price_prompt=2.0, price_response=10.0)
        list(one.complete(requests(100)))
        assert one.params.cost(one.usage) == pytest.approx((300 * 2 + 200 * 10) / 1e6)
        assert client(server).params.cost(one.usage) is None


def test_completions_and_their_logprobs():
    def act(handler, number, body):
        logprobs = {"tokens": [" Yes"], "token_logprobs": [-0.1], "top_logprobs": [{" Yes": -0.1, " No": -2.4}]}
        handler.send(200, scripted.json.dumps({"choices": [{"index": 0, "text": " Yes", "finish_reason": "length", "logprobs": logprobs}]}))

    with Scripted(act) as server:
        one = client(server, api="completions")
        asked = Request("a", ({"role": "system", "content": "s"}, {"role": "user", "content": "u"}), {"logprobs": True, "top_logprobs": 5})
        (reply,) = one.complete([asked])
    assert (server.bodies[0]["prompt"], server.bodies[0]["logprobs"]) == ("s\n\nu", 5) and "top_logprobs" not in server.bodies[0]
    assert reply.choices[0].tokens[0].top == {" Yes": -0.1, " No": -2.4}
    assert reply.prompt_tokens is None and one.usage.uncounted == 1


def test_who_stops_reading_leaves_no_thread_behind():
    with Scripted(scripted.late(0.05)) as server:
        before = threading.active_count() - server.now
        replies = client(server, concurrency=4).complete(requests(500))
        next(replies)
        replies.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "rondo-server"]
    assert server.count < 50 and before


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(port):
    code = [sys.executable, str(Path(scripted.__file__)), str(port), "0.02"]
    process = subprocess.Popen(code, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("http")
    return process


def test_a_server_that_is_killed_and_comes_back_loses_nothing():
    port = free_port()
    process = start(port)
    try:
        params = ServerParams(url=f"http://127.0.0.1:{port}/v1", model="m", backoff=0.1, attempts=40, concurrency=8)
        found, one = [], Client(params)
        for reply in one.complete(requests(200)):
            found.append(reply)
            if len(found) == 40:
                process.kill()
                process.wait()
                process.stdout.close()
                process = start(port)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert texts(found) == {f"k{i:04d}": f"re: say {i}" for i in range(200)} and len(found) == 200
    assert one.usage.retries > 0


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x/v1", "http://user:pass@x/v1", "http://x/v1?key=pass"])
def test_urls_that_are_none_or_hold_a_secret(url):
    with pytest.raises(SpecError, match=r"server\.url") as caught:
        Client(ServerParams(url=url, model="m"))
    assert "pass@" not in str(caught.value) and "=pass" not in str(caught.value)


def test_replies_do_not_pile_up_before_a_slow_reader():
    """What is not read is not on disk: of many requests only about twice `concurrency` may be ahead of the reader."""
    with Scripted(echo) as server:
        replies = client(server, concurrency=4).complete(requests(200))
        for read in range(1, 11):
            next(replies)
            time.sleep(0.1)
            assert server.count <= read + 8
        replies.close()
