"""One request to a server: some of a prompt's answers that are asked together, most often one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from engine import models
from engine.errors import DataError, SpecError
from engine.generate import Job
from engine.generate.asks import Asked, asked
from engine.generate.served.params import OpenAIParams
from engine.server import Request
from engine.spec import Sampler


@dataclass
class Question:
    """What is asked: the numbers `samples` of the answers to `prompt`. `logprobs`: whether it was sent with that wish."""

    prompt: str
    samples: list[int]
    sampler: Sampler
    messages: list[dict[str, str]]
    seed: int | None
    logprobs: bool = False

    @property
    def key(self) -> str:
        """Names the request."""
        return f"{self.prompt}/{self.samples[0]}"

    @property
    def asks(self) -> Asked:
        """The same for `engine.generate.rows`."""
        n = len(self.samples)
        return Asked([n], [self.prompt] * n, self.samples, [self.sampler] * n)

    def request(self, params: OpenAIParams, response_format: dict[str, Any] | None, logprobs: bool) -> Request:
        """What is sent."""
        sampler, self.logprobs, n = self.sampler, logprobs, len(self.samples)
        options: dict[str, Any] = {"temperature": sampler.temperature, "top_p": sampler.top_p, "max_tokens": sampler.max_tokens}
        if params.send_top_k:
            options["top_k"] = sampler.top_k or -1  # named where there is no limit too, lest the server take its model's
        if self.seed is not None:
            options["seed"] = self.seed
        more = {"stop": list(sampler.stop), "n": n if n > 1 else None, "logprobs": logprobs, "response_format": response_format}
        return Request(self.key, tuple(self.messages), options | {name: value for name, value in more.items() if value})


def questions(job: Job, params: OpenAIParams, asks: pa.RecordBatch) -> Iterator[Question]:
    """The requests for all answers that are asked, each with its seed (the first one's, where several are asked together)."""
    found, at = asked(job, asks), 0
    seeds = found.seeds(job) if params.send_seed else [None] * len(found.prompts)
    rows = zip(asks.column("prompt_id").to_pylist(), asks.column("messages").to_pylist(), found.counts, strict=True)
    for prompt, messages, count in rows:
        said = [{"role": message["role"], "content": message["content"]} for message in messages]
        if models.begun(said):
            text = "the last message is the assistant's: a server takes it for a finished answer and would not go on from it"
            raise DataError(text, where=f"prompt {prompt}", hint="use the backend transformers or vllm, or ask with a user message last")
        end = at + count
        while at < end:
            sampler = found.samplers[at]
            check(params, sampler)
            # greedy answers are all the same, and servers refuse to give several
            many = min(end - at, params.samples_per_request if sampler.temperature else 1)
            yield Question(prompt, found.samples[at : at + many], sampler, said, seeds[at])
            at += many


def check(params: OpenAIParams, sampler: Sampler) -> None:
    """SpecError for a sampler that cannot be sent."""
    if sampler.top_k and not params.send_top_k:
        text = f"generate.top_k: {sampler.top_k}, which the OpenAI protocol does not have"
        raise SpecError(text, hint="set params.send_top_k: true where the server takes it (vLLM does), or generate.top_k: 0")
