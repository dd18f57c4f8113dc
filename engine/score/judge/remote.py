"""A judge on a server: a request for each vote, finished ones in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.errors import StepError
from engine.randomness import row_keys
from engine.score.judge import LONGEST_LETTER, LONGEST_TEXT, Voting
from engine.score.judge.panel import STEP, Ballot, Question
from engine.score.judge.prompt import Prompt
from engine.score.judge.votes import Vote, by_probability, shares_of, vote
from engine.server import Reply, Request, ServerParams
from engine.server.client import Client
from engine.server.log import complete
from engine.step import Context

TOP = 20  # log-probabilities that servers give for a token at most
SEED = (1 << 31) - 1  # servers take 32 bits with a sign


class Remote:
    """A judge at `server`."""

    def __init__(self, ctx: Context, params: Voting, server: ServerParams, prompt: Prompt, label: str) -> None:
        self.ctx, self.params, self.server, self.prompt, self.label = ctx, params, server, prompt, label
        self.read = params.read or prompt.read
        self.client = Client(server)

    def ask(self, questions: Sequence[Question]) -> dict[str, Ballot]:
        """The ballot of each question. StepError with the server's words where more fail than may."""
        requests = [request for question in questions for request in self._requests(question)]
        most, failed, replies = self.params.max_errors * len(requests), 0, dict[str, Reply]()
        self.ctx.progress.begin(self.label, len(requests), unit="replies")
        stream = complete(self.client, requests, self.ctx.journal / "replies.jsonl")
        try:
            for reply in stream:
                replies[reply.key] = reply
                self.ctx.progress.advance(1)
                failed += reply.failure is not None
                if failed > most:
                    assert reply.failure is not None
                    raise StepError(
                        f"{self.label}: {failed} of {len(requests)} requests have failed, {self.params.max_errors:.3g} of them may: "
                        f"{reply.failure.words}",
                        where=self.server.base,
                        hint=f"run again: {len(replies) - failed} finished replies are kept; or let a share fail (params.max_errors)",
                    )
        finally:
            stream.close()
            self.ctx.progress.end()
        self._note(failed)
        return {question.key: self._ballot([replies[f"{question.key}/{n}"] for n in range(self.params.votes)]) for question in questions}

    def _requests(self, question: Question) -> list[Request]:
        letters, longest = self.read == "logprobs", self.params.max_tokens
        options: dict[str, Any] = {"temperature": self.params.temperature, "top_p": self.params.top_p}
        options["max_tokens"] = longest or (LONGEST_LETTER if letters else LONGEST_TEXT)
        options |= {"logprobs": True, "top_logprobs": TOP} if letters else {}
        keys = [f"{question.key}/{number}" for number in range(self.params.votes)]
        if self.params.temperature == 0:
            return [Request(key, question.messages, options) for key in keys]
        seeds = row_keys(self.ctx.spec.seed, 0, STEP, keys)
        return [Request(key, question.messages, options | {"seed": int(seed) & SEED}) for key, seed in zip(keys, seeds, strict=True)]

    def _ballot(self, replies: Sequence[Reply]) -> Ballot:
        failure = next((reply.failure for reply in replies if reply.failure), None)
        counted = [(reply.prompt_tokens or 0, reply.response_tokens or 0) for reply in replies if reply.prompt_tokens is not None]
        return Ballot(
            votes=tuple(self._vote(reply) for reply in replies if not reply.failure),
            verdict=failure.kind if failure else None,
            words=failure.words if failure else None,
            prompt_tokens=sum(one for one, _ in counted) if counted else None,
            response_tokens=sum(one for _, one in counted) if counted else None,
            seconds=sum(reply.seconds for reply in replies),
        )

    def _vote(self, reply: Reply) -> Vote:
        choice = reply.choices[0]
        if self.read == "text":
            return vote(self.prompt, choice.text)
        if choice.text and not choice.tokens:
            hint = "set params.read: text (its words are then parsed), or take a server that offers them"
            raise StepError(f"{self.label}: the server gives no log-probabilities", where=self.server.base, hint=hint)
        shares = shares_of(self.prompt, choice.tokens)
        return Vote(None, choice.text) if shares is None else by_probability(self.prompt, shares, choice.text)

    def _note(self, failed: int) -> None:
        usage, cost = self.client.usage, self.server.cost(self.client.usage)
        told = f"{usage.requests} requests, {usage.retries} retries, {failed} failed, "
        told += f"{usage.prompt_tokens:,} prompt and {usage.response_tokens:,} response tokens"
        told += f", {usage.uncounted} replies without a count" if usage.uncounted else ""
        told += f", cost {cost:.4g}" if cost is not None else ""
        self.ctx.progress.note(f"{self.label}: {told}")
