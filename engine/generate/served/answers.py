"""Rows of `generations` from the replies of a server."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa

from engine.errors import StepError
from engine.generate import Job
from engine.generate.rows import generations
from engine.generate.served.params import OpenAIParams
from engine.generate.served.question import Question
from engine.ids import canonical
from engine.randomness import row_keys
from engine.server import Choice, Reply

KNOWN = ("stop", "length")  # reasons to finish that the table has


class Answers:
    """Makes rows. `source` stands for server and model in ids; `bare` counts answers without the log-probabilities asked for."""

    def __init__(self, job: Job, params: OpenAIParams, source: str) -> None:
        self.job, self.params, self.source, self.bare = job, params, source, 0

    def rows(self, question: Question, reply: Reply) -> pa.RecordBatch:
        """The answers in a reply. StepError where params.logprobs is true and none came.

        A log-probability is the server's: of a token that it drew, at temperature 1 without filters in vLLM. A reason to finish
        that is neither stop nor length (content_filter, ...) stands in `meta`.
        """
        n, choices = len(question.samples), reply.choices
        bare = sum(not choice.tokens for choice in choices) if question.logprobs else 0
        if bare and self.params.logprobs is True and any(choice.text and not choice.tokens for choice in choices):
            hint = "set params.logprobs: auto, or take a server that offers them"
            raise StepError(f"{self.job.step}: the server gives no log-probabilities", where=self.params.base, hint=hint)
        self.bare += bare
        values = [_values(choice) for choice in choices]
        return self._made(
            question,
            [choice.text for choice in choices],
            reply.seconds,
            finish_reason=[choice.finish_reason if choice.finish_reason in KNOWN else "stop" for choice in choices],
            prompt_tokens=[reply.prompt_tokens] * n,
            # the server counts the answers of a request together
            response_tokens=[reply.response_tokens] if n == 1 else [len(choice.tokens) or None for choice in choices],
            logprob=[math.fsum(one) if one else None for one in values],
            token_logprobs=[one or None for one in values] if self.job.keep_tokens else None,
            meta=[_meta(choice) for choice in choices],
        )

    def refused(self, question: Question, reply: Reply) -> pa.RecordBatch:
        """Rows that say what the server has refused."""
        assert reply.failure is not None
        n, meta = len(question.samples), canonical({"error": reply.failure.words})
        return self._made(question, [""] * n, reply.seconds, finish_reason=["error"] * n, meta=[meta] * n)

    def _made(self, question: Question, texts: list[str], seconds: float, **columns: Any) -> pa.RecordBatch:
        n, how = len(question.samples), dict[str, Any]()
        if n > 1:
            how["together"] = n
        if not self.params.send_seed and question.sampler.temperature:
            # no seed tells a later round's answers from these
            how["stream"] = int(row_keys(self.job.seed, self.job.round, self.job.step, [self.job.stream])[0])
        return generations(
            self.job,
            question.asks,
            texts,
            seconds=seconds,
            models=[self.params.model] * n,
            sources=[self.source] * n,
            seeds=[question.seed] * n,
            how=how,
            **columns,
        )


def _values(choice: Choice) -> list[float]:
    """The log-probabilities of an answer's tokens; none where one of them is missing."""
    found = [token.logprob for token in choice.tokens]
    return [] if None in found else [value for value in found if value is not None]


def _meta(choice: Choice) -> str | None:
    return None if choice.finish_reason in (*KNOWN, None) else canonical({"finish_reason": choice.finish_reason})
