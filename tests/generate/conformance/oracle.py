"""A server of the OpenAI protocol whose reply is a function of the request: prompt, sampler and seed."""

from __future__ import annotations

import json
import random
import time
from typing import Any

from engine.ids import digest
from generate_tiny import LETTERS
from server.scripted import Handler, Scripted, said, status

REFUSED = "refuse me"
LATENCY = 0.003  # seconds of a reply, so that requests overlap


def drawn(body: dict[str, Any]) -> tuple[str, str]:
    """(text, why it ended); a token is a letter."""
    hot = body["temperature"] > 0
    how = [said(body), body["temperature"], *((body["top_p"], body.get("top_k", -1), body.get("seed")) if hot else ())]
    dice = random.Random(digest(how))
    text, reason = "".join(dice.choices(LETTERS, k=dice.randint(2, 24))), "stop"
    if len(text) > body["max_tokens"]:
        text, reason = text[: body["max_tokens"]], "length"
    ends = [at for stop in body.get("stop", ()) if (at := text.find(stop)) >= 0]
    return (text[: min(ends)], "stop") if ends else (text, reason)


def reply(handler: Handler, number: int, body: dict[str, Any]) -> None:
    """Answers a request, a little later."""
    time.sleep(LATENCY)
    if REFUSED in said(body):
        status(400, "this prompt is not allowed")(handler, number, body)
        return
    text, reason = drawn(body)
    logprobs = {"content": [{"token": letter, "logprob": -1 / (2 + ord(letter)), "top_logprobs": []} for letter in text]}
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": len(said(body)), "completion_tokens": len(text)}
    handler.send(200, json.dumps({"choices": [choice | ({"logprobs": logprobs} if body.get("logprobs") else {})], "usage": usage}))


def serve() -> Scripted:
    """The server, not started yet."""
    return Scripted(reply)
