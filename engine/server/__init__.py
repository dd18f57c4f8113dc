"""The server room: a client of servers that speak the OpenAI protocol (chat and completions), for judges and for generation.

`Client.complete` takes requests and gives replies as they finish; `engine.server.log` keeps finished ones on disk. Nothing here
knows what the texts mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from engine.errors import RondoError, SpecError
from engine.params import Params

TIMEOUT, ERROR = "timeout", "error"
BLANK_LINE = "\n\n"


class ServerError(RondoError):
    """A server cannot be used at all: wrong key, unknown model, no quota left."""


class ServerParams(Params):
    """Which server answers, and how it is asked. What is `exclude`d changes no reply and enters no fingerprint."""

    url: str = Field(..., exclude=True, description="base URL, such as http://127.0.0.1:8000/v1")
    model: str = Field(..., description="name of the model at the server")
    identity: str | None = Field(None, exclude=True, description="stands for the server in fingerprints and caches; none: its URL")
    api: Literal["chat", "completions"] = Field("chat", description="chat: messages; completions: their texts as one prompt")
    separator: str = Field(BLANK_LINE, description="completions: what stands between the contents of two messages")
    key_env: str | None = Field(None, exclude=True, description="environment variable that holds the API key; none: no key is sent")
    concurrency: int = Field(16, gt=0, le=1024, exclude=True, description="most requests in flight; fewer while the server says 429")
    timeout: float = Field(120.0, gt=0, exclude=True, description="seconds that one try may take in all")
    attempts: int = Field(8, gt=0, exclude=True, description="most tries of one request; a server that was there and is away costs none")
    patience: float = Field(600.0, gt=0, exclude=True, description="seconds after which a request is not tried again")
    backoff: float = Field(0.5, ge=0, exclude=True, description="seconds before the second try; doubled each time, up to 30")
    price_prompt: float | None = Field(None, ge=0, exclude=True, description="price of a million prompt tokens, in any currency")
    price_response: float | None = Field(None, ge=0, exclude=True, description="price of a million response tokens")
    limit_field: Literal["max_tokens", "max_completion_tokens"] = Field("max_tokens", description="what the server calls the token limit")
    extra: dict[str, Any] = Field({}, description="further fields of every request, such as {reasoning_effort: low}")

    @property
    def base(self) -> str:
        """The URL without a slash behind it."""
        return self.url.rstrip("/")

    def check(self, field: str = "server") -> None:
        """SpecError for a URL that is none or holds a secret; its text does not repeat the URL, as a validator's would."""
        parts = urlsplit(self.url)
        if parts.username or parts.password or parts.query or parts.fragment:
            hint = "a key belongs into the environment variable that key_env names"
            raise SpecError(f"{field}.url: expected a URL without user, password, query and fragment", hint=hint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SpecError(f"{field}.url: expected a URL such as http://127.0.0.1:8000/v1, found {self.url!r}")

    def settings(self) -> dict[str, Any]:
        """JSON for a fingerprint: what the replies depend on. The key is nowhere in it."""
        plain = self.api == "chat" or self.separator == BLANK_LINE
        return self.model_dump(mode="json", exclude={"separator"} if plain else None) | {"server": self.identity or self.base}

    def cost(self, usage: Usage) -> float | None:
        """What `usage` costs; None where the prices are not given."""
        if self.price_prompt is None or self.price_response is None:
            return None
        return (usage.prompt_tokens * self.price_prompt + usage.response_tokens * self.price_response) / 1e6


@dataclass(frozen=True)
class Request:
    """One question. `options` are the protocol's own fields (temperature, top_p, max_tokens, seed, n, stop, logprobs, top_logprobs).

    A chat server gets `messages`; one for completions their contents, `ServerParams.separator` between them.
    """

    key: str
    messages: tuple[Mapping[str, str], ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Token:
    """A drawn token, its log-probability in nats, and those of the most probable tokens in its place."""

    text: str
    logprob: float | None
    top: Mapping[str, float]


@dataclass(frozen=True)
class Choice:
    """One of a reply's texts; `tokens` is empty where no log-probabilities came."""

    text: str
    finish_reason: str | None = None
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why a request has no reply: `timeout` or `error`, and in words what was seen last. `refused`: the server does not take it."""

    kind: str
    words: str
    refused: bool = False


@dataclass(frozen=True)
class Reply:
    """What became of a request: `choices`, or a `failure`. Tokens as the server counts them (None: it does not say).

    `attempts`: how often it was sent; `seconds`: from the first try to the end, pauses included.
    """

    key: str
    choices: tuple[Choice, ...] = ()
    prompt_tokens: int | None = None
    response_tokens: int | None = None
    attempts: int = 1
    seconds: float = 0.0
    failure: Failure | None = None


@dataclass
class Usage:
    """Totals over replies."""

    requests: int = 0
    retries: int = 0
    failures: int = 0
    uncounted: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0

    def add(self, reply: Reply) -> None:
        """Counts one reply."""
        self.requests += 1
        self.retries += reply.attempts - 1
        self.failures += reply.failure is not None
        self.uncounted += reply.failure is None and reply.prompt_tokens is None
        self.prompt_tokens += reply.prompt_tokens or 0
        self.response_tokens += reply.response_tokens or 0
