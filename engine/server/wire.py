"""The protocol: bodies of requests, replies from bodies, and what a status means for the next try."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from engine.server import ERROR, Choice, Reply, Request, ServerParams, Token

if TYPE_CHECKING:
    import httpx

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
AGAIN = (408, 425, 429)  # beside every 5xx: another try may end better
USELESS = (401, 402, 403, 404, 405, 407)  # the same for every request
SPENT = "insufficient_quota"  # comes as 429, and no waiting helps
WORDS = 500  # characters of a server's text in an error
Hide = Callable[[str], str]  # takes secrets out of a server's words, before they are cut: half a key is one too


class Transient(Exception):
    """A try failed and another may not. `after`: seconds that the server asks to wait."""

    def __init__(self, words: str, kind: str = ERROR, after: float = 0.0) -> None:
        super().__init__(words)
        self.words, self.kind, self.after = words, kind, after


class Away(Transient):
    """There is nobody at the server's address."""


class Refused(Exception):
    """The server does not take this request, however often it is sent."""


class Useless(Exception):
    """The server takes no request at all."""


def body(params: ServerParams, request: Request) -> dict[str, Any]:
    """The JSON of a request."""
    options = dict(request.options)
    if "max_tokens" in options:
        options[params.limit_field] = options.pop("max_tokens")
    asked: dict[str, Any] = {"messages": [dict(message) for message in request.messages]}
    if params.api == "completions":
        asked = {"prompt": params.separator.join(message["content"] for message in request.messages)}
        if options.pop("logprobs", None) or "top_logprobs" in options:  # here the number itself is called logprobs
            options["logprobs"] = options.pop("top_logprobs", 1)
    return {"model": params.model, **asked, **options, **params.extra}


def reply(response: httpx.Response, request: Request, hide: Hide = str) -> Reply:
    """The reply in a response. Transient, Refused or Useless where there is none, with the server's words, which `hide` has seen."""
    status = response.status_code
    if not 200 <= status < 300:
        raise problem(response, hide)
    try:
        found = json.loads(response.content)
    except ValueError as error:
        raise Transient(f"the reply is no JSON ({error}): {cut(hide(response.text))!r}") from error
    try:
        choices = tuple(_choice(choice) for choice in sorted(found["choices"], key=lambda choice: choice.get("index", 0)))
        usage = found.get("usage") or {}
        prompt, response_tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Transient(f"the reply is no completion: {cut(hide(response.text))!r}") from error
    if len(choices) != request.options.get("n", 1):
        raise Transient(f"{request.options.get('n', 1)} choices asked, {len(choices)} came")
    return Reply(request.key, choices, prompt, response_tokens)


def problem(response: httpx.Response, hide: Hide = str) -> Exception:
    """What a status that is no success means."""
    status, (words, code) = response.status_code, said(response, hide)
    text = f"HTTP {status}: {words}"
    if status in USELESS or 300 <= status < 400 or code == SPENT:
        return Useless(text)
    if status in AGAIN or status >= 500:
        return Transient(text, after=retry_after(response.headers))
    return Refused(text)


def said(response: httpx.Response, hide: Hide = str) -> tuple[str, str | None]:
    """The server's words and its error code."""
    try:
        found = json.loads(response.content)
    except ValueError:
        return cut(hide(response.text)) or response.reason_phrase, None
    error = found.get("error", found) if isinstance(found, dict) else found
    if not isinstance(error, dict):
        return cut(hide(str(error))), None
    code = error.get("code")
    return cut(hide(str(error.get("message") or error.get("detail") or error))), code if isinstance(code, str) else None


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that `Retry-After` (a number or a date) asks to wait; 0 where it says nothing that can be read."""
    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def cut(text: str, most: int = WORDS) -> str:
    """The text's beginning, in one line."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."


def _count(value: Any) -> int | None:
    """Tokens, where the server counts any."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _choice(choice: Mapping[str, Any]) -> Choice:
    probabilities = choice.get("logprobs") or {}
    if "message" in choice:
        text = choice["message"].get("content") or ""
        tokens = tuple(
            Token(t["token"], t.get("logprob"), {top["token"]: top["logprob"] for top in t.get("top_logprobs") or ()})
            for t in probabilities.get("content") or ()
        )
    else:
        text = choice["text"]
        names = probabilities.get("tokens") or ()
        values = probabilities.get("token_logprobs") or [None] * len(names)
        tops = probabilities.get("top_logprobs") or [{}] * len(names)
        tokens = tuple(Token(name, value, dict(top or {})) for name, value, top in zip(names, values, tops, strict=True))
    if not isinstance(text, str):
        raise TypeError(f"text of type {type(text).__name__}")
    return Choice(text, choice.get("finish_reason"), tokens)
