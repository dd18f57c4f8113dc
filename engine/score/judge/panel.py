"""Asks a judge: questions in, votes out, from a server or from a model on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import StepError
from engine.score.judge import Voting
from engine.score.judge.prompt import Prompt
from engine.score.judge.votes import Vote
from engine.server import Usage
from engine.step import Context

STEP = "judge"  # roots the draws of every judge, whatever its step is called: equal questions get equal votes


@dataclass(frozen=True)
class Question:
    """What the judge gets. `key` is that of the content: it roots the draws."""

    key: str
    messages: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Ballot:
    """The votes on one question, or a verdict (timeout, error) with words where it could not be asked.

    Tokens are None where nobody counted them.
    """

    votes: tuple[Vote, ...] = ()
    verdict: str | None = None
    words: str | None = None
    prompt_tokens: int | None = None
    response_tokens: int | None = None
    seconds: float = 0.0


def ask(ctx: Context, params: Voting, prompt: Prompt, questions: Sequence[Question], label: str) -> tuple[dict[str, Ballot], Usage | None]:
    """The ballot of each question, by key, and what a server was asked for it. Finished replies are in the journal.

    StepError where a question is lost, or where more requests than `max_errors` fail for good.
    """
    server, name = params.where
    usage: Usage | None = None
    if server is not None:
        from engine.score.judge.remote import Remote

        remote = Remote(ctx, params, server, prompt, label)
        found = remote.ask(questions)
        usage = remote.client.usage
    else:
        from engine.score.judge import local

        found = local.ask(ctx, params, name, prompt, questions, label)
    lost = [question.key for question in questions if question.key not in found]
    if lost or len(found) != len(questions):
        raise StepError(f"{label}: {len(questions)} questions in, {len(found)} ballots out")
    return found, usage
