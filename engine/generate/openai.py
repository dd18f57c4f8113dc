"""Asks a server that speaks the OpenAI protocol for answers: vLLM's, `transformers serve`, a hosted one. The backend `openai`.

Each answer is a request of its own with a seed of its own, as many in flight as `concurrency` says and the server takes
(`engine.server`). Answers come as they finish. What a server fills in for settings that a request does not name is its own
business: vLLM takes them, top_k among them, from the model's generation_config.json unless it is started with
`--generation-config vllm`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.errors import SpecError, StepError
from engine.generate import Backend, Job, backends
from engine.generate.served.answers import Answers
from engine.generate.served.params import OpenAIParams
from engine.generate.served.question import Question, check, questions
from engine.ids import digest
from engine.server import Reply
from engine.server.client import Client

GONE = 8  # requests that fail for good, none answered in between, after which the others are not tried
SENT = {"send_seed", "send_top_k", "logprobs", "samples_per_request"}


@dataclass
class Run:
    """The requests of one call: those `left`, the `total`, those that failed for good and how many of them in a row, and rows
    of refused ones that wait for proof that the server answers at all."""

    left: dict[str, Question]
    total: int
    failed: list[Reply] = field(default_factory=list)
    streak: int = 0
    kept: list[pa.RecordBatch] = field(default_factory=list)


@backends.register("openai")
class OpenAI(Backend):
    """Answers of a server's model. SpecError for settings that the protocol or the server cannot follow, and for a missing key."""

    revision = 1
    needs_model = False
    schedules = True
    Params = OpenAIParams

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        params = self._params = job.params
        check(params, job.sampler)
        if job.chat is not None and job.chat != (params.api == "chat"):
            text = f"generate.chat: {str(job.chat).lower()}, but the server is asked through params.api: {params.api}"
            raise SpecError(text, hint="leave generate.chat out: a chat server uses its model's template, one for completions uses none")
        self._format = params.response_format(job.spec_path)
        self._answers = Answers(job, params, digest(params.who(job.spec_path)))
        self._logprobs = params.logprobs is not False
        self._answered = self._refused = 0
        self._client = Client(params)

    @classmethod
    def settings(cls, params: OpenAIParams, spec_path: Path) -> dict[str, Any]:
        """What the answers depend on; the key, prices, and how the server is approached are not among it."""
        return params.who(spec_path) | params.model_dump(mode="json", include=SENT)

    @classmethod
    def check(cls, params: OpenAIParams, spec_path: Path) -> None:
        """SpecError or DataError for a URL, further fields or a schema that cannot work. Asks no server."""
        params.check("params")
        params.response_format(spec_path)

    def resumed(self, rows: list[dict[str, Any]]) -> None:
        """Counts what a killed run has spent."""
        usage, whole = self._client.usage, [row for row in rows if row["finish_reason"] != "error"]
        # several answers of one request share a seed, and the prompt was read once for them
        asked = {(row["prompt_id"], row["sample"] if row["seed"] is None else -1 - row["seed"]): row["prompt_tokens"] for row in whole}
        usage.requests += len(asked) + len(rows) - len(whole)
        usage.uncounted += list(asked.values()).count(None)
        usage.prompt_tokens += sum(count or 0 for count in asked.values())
        usage.response_tokens += sum(row["response_tokens"] or 0 for row in whole)
        self._answered, self._refused = self._answered + len(asked), self._refused + len(rows) - len(whole)
        self._tell()

    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Rows as replies come. StepError, once all others are answered, for requests that fail for good, and at once where they
        follow each other; ServerError where the server takes no request at all."""
        left = {question.key: question for question in questions(self.job, self._params, asks)}
        run = Run(left, len(left))
        try:
            while run.left and run.streak < GONE:
                # a request is made when it is sent: by then the server may have refused log-probabilities
                requests = (one.request(self._params, self._format, self._logprobs) for one in list(left.values()))
                with closing(self._client.complete(requests)) as replies:
                    for reply in replies:
                        yield from self._settled(run, reply)
                        if run.streak >= GONE:
                            break
        finally:
            self._tell()
        if run.failed or run.kept:
            raise self._lost(run)

    def _settled(self, run: Run, reply: Reply) -> Iterator[pa.RecordBatch]:
        """The rows that can be given away now that a reply has come."""
        question, failure = run.left[reply.key], reply.failure
        if failure and failure.refused and self._unwished(question, failure.words):
            return  # it stays among those left, and is asked again without log-probabilities
        del run.left[reply.key]
        if failure is None:
            run.streak, self._answered = 0, self._answered + 1
            yield self._answers.rows(question, reply)
        elif failure.refused and self._params.refused == "keep":
            self._refused += 1
            run.kept.append(self._answers.refused(question, reply))
        else:
            run.failed.append(reply)
            run.streak += 1
        if self._answered:  # one that refuses everything has another reason than the prompts
            yield from run.kept
            run.kept.clear()

    def _unwished(self, question: Question, words: str) -> bool:
        """Whether a request was refused for the log-probabilities that it asks; later ones go without."""
        if not question.logprobs or self._params.logprobs != "auto" or "logprob" not in words.lower():
            return False
        self._logprobs = False
        self.detail["no_logprobs"] = words
        return True

    def _lost(self, run: Run) -> StepError:
        """What became of the requests without an answer."""
        step, where = self.job.step, self._params.base
        if not run.failed:
            text = f"{step}: the server refused all {run.total} requests, so the prompts are not the reason"
            return StepError(text, where=where, hint="set params.refused: error to see its words")
        prompt, failure = run.failed[0].key.rpartition("/")[0], run.failed[0].failure
        assert failure is not None
        text = f"{step}: {len(run.failed)} of {run.total} requests failed for good, {len(run.left)} more were not tried to the end; "
        text += f"for prompt {prompt}: {failure.words}"
        hint = "run again: finished answers are kept and only the others are asked; params.attempts and params.patience allow more tries"
        if failure.refused:
            hint = "look at the prompt with `rondo sql` and at the server's words; with params.refused: keep such prompts get empty answers"
            hint += "; finished answers are kept"
        return StepError(text, where=where, hint=hint)

    def _tell(self) -> None:
        """Totals for the ledger."""
        usage, cost = self._client.usage, self._params.cost(self._client.usage)
        self.detail |= {name: getattr(usage, name) for name in ("requests", "retries", "prompt_tokens", "response_tokens")}
        more = {"refused": self._refused, "without_counts": usage.uncounted, "without_logprobs": self._answers.bare}
        self.detail |= {name: count for name, count in more.items() if count}
        if cost is not None:
            self.detail["cost"] = cost
