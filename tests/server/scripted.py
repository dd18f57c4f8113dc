"""A server on this machine that speaks the OpenAI protocol and does what a script says, request by request."""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Act = Callable[["Handler", int, dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the server's script with its number, counted from 0."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            number = self.server.count
            self.server.count += 1
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
            self.server.bodies.append(body)
            self.server.headers.append(dict(self.headers))
            self.server.times.append(time.monotonic())
        try:
            self.server.script(self, number, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.now -= 1

    def log_message(self, *args: Any) -> None:
        pass

    def send(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        """A whole response."""
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class Scripted(ThreadingHTTPServer):
    """`bodies`, `headers` and `times` of every request; `most` that were in work at once."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, script: Act, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.script, self.lock = script, threading.Lock()
        self.count = self.now = self.most = 0
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    def __enter__(self) -> Scripted:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *args: Any) -> None:
        self.shutdown()
        self.server_close()


def said(body: dict[str, Any]) -> str:
    """The last thing that a request says."""
    return body["messages"][-1]["content"] if "messages" in body else body["prompt"]


def completion(text: str, prompt: int = 3, response: int = 2, logprobs: Any = None) -> str:
    """The body of a chat reply."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": logprobs}
    usage = {"prompt_tokens": prompt, "completion_tokens": response, "total_tokens": prompt + response}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage})


def echo(handler: Handler, number: int, body: dict[str, Any]) -> None:
    """Says back what was said."""
    handler.send(200, completion(f"re: {said(body)}"))


def drawn(handler: Handler, number: int, body: dict[str, Any]) -> None:
    """A model that draws letters, one a token: the same for the same messages, sampler and seed, whenever and however often asked.

    Log-probabilities where they are asked; greedy at temperature 0; top_p and top_k change nothing.
    """
    greedy, most = body.get("temperature") == 0, body.get("max_tokens", 16)
    choices, total = [], 0
    for index in range(body.get("n", 1)):
        dice = random.Random(json.dumps([said(body), None if greedy else [body.get("seed"), index, body.get("temperature")]]))
        letters = [dice.choice("abcdefgh 123") for _ in range(dice.randrange(2, 40))]
        text, ended = "".join(letters[:most]), len(letters) <= most
        if cuts := [text.index(stop) for stop in body.get("stop", ()) if stop in text]:
            text, ended = text[: min(cuts)], True
        choices.append(choice(text, index, "stop" if ended else "length", bool(body.get("logprobs")), "messages" in body))
        total += len(text)
    usage = {"prompt_tokens": len(said(body)) + 1, "completion_tokens": total}
    handler.send(200, json.dumps({"object": "chat.completion", "choices": choices, "usage": usage}))


def choice(text: str, index: int, reason: str, logprobs: bool, chat: bool) -> dict[str, Any]:
    """A choice of a reply; a token a letter, of -0.5 and -0.25 nats in turns."""
    values = [-0.5 if place % 2 == 0 else -0.25 for place in range(len(text))]
    if chat:
        content = [{"token": letter, "logprob": value, "top_logprobs": []} for letter, value in zip(text, values, strict=True)]
        whole: dict[str, Any] = {"message": {"role": "assistant", "content": text}, "logprobs": {"content": content} if logprobs else None}
    else:
        whole = {"text": text, "logprobs": {"tokens": list(text), "token_logprobs": values} if logprobs else None}
    return {"index": index, "finish_reason": reason} | whole


def faulty(share: float, seed: int = 1, act: Act = echo, hang: float = 0.0) -> Act:
    """`share` of all requests meet one of the faults that servers have; `hang` is how long the slow ones take."""
    dice = random.Random(seed)
    faults = [status(429), status(429, retry_after="0.2"), status(500), drop, short, torn, *([late(hang)] if hang else [])]
    plan = [dice.choice(faults) if dice.random() < share else act for _ in range(10_000)]
    return lambda handler, number, body: plan[number % len(plan)](handler, number, body)


def status(code: int, words: str = "busy", **headers: str) -> Act:
    """An error with the server's words."""
    own = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, number, body: handler.send(code, json.dumps({"error": {"message": words}}), own)


def late(seconds: float) -> Act:
    """The right reply, too late."""

    def act(handler: Handler, number: int, body: dict[str, Any]) -> None:
        time.sleep(seconds)
        echo(handler, number, body)

    return act


def dribble(seconds: float) -> Act:
    """A reply whose bytes come one by one, so that no single read takes long."""

    def act(handler: Handler, number: int, body: dict[str, Any]) -> None:
        data = completion("slow").encode()
        handler.send_response(200)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        for byte in data:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(seconds / len(data))

    return act


def torn(handler: Handler, number: int, body: dict[str, Any]) -> None:
    """Valid HTTP around half a JSON text."""
    handler.send(200, completion("half")[:40])


def short(handler: Handler, number: int, body: dict[str, Any]) -> None:
    """Fewer bytes than announced, then the end."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.wfile.flush()
    drop(handler, number, body)


def drop(handler: Handler, number: int, body: dict[str, Any]) -> None:
    """A connection that is reset."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def script(*acts: Act, then: Act = echo) -> Act:
    """The first acts for the first requests, `then` for the others."""
    return lambda handler, number, body: (acts[number] if number < len(acts) else then)(handler, number, body)


def slowly(seconds: float, act: Act) -> Act:
    """`act`, later."""

    def wait(handler: Handler, number: int, body: dict[str, Any]) -> None:
        time.sleep(seconds)
        act(handler, number, body)

    return wait


if __name__ == "__main__":  # a server that can be killed: python scripted.py PORT SECONDS [draw]
    server = Scripted(slowly(float(sys.argv[2]), drawn if "draw" in sys.argv else echo), int(sys.argv[1]))
    print(server.url, flush=True)
    server.serve_forever(0.01)
