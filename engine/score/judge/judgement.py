"""From answers to judgements: questions made from a prompt and its criteria, and a number with its reasons from the votes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import DataError, SpecError
from engine.generate import backends
from engine.ids import canonical
from engine.score import UNPARSEABLE, forced
from engine.score.judge import Voting, criteria
from engine.score.judge.local import BACKEND
from engine.score.judge.panel import Ballot, Question, ask
from engine.score.judge.prompt import Prompt, load
from engine.score.judge.votes import PLACES, aggregate
from engine.spec import Spec
from engine.step import Context, Ref

TEXT, RATIONALE = 400, 1000  # characters of a reply and of a rationale that stay in `detail`
REVISION = 1


@dataclass(frozen=True)
class Case:
    """Something to judge: `names` fill the prompt's braces (None: it has none), `meta` is that of its prompt, `place` says which
    row it is in errors."""

    key: str
    names: Mapping[str, str | None]
    meta: str | None
    place: str


@dataclass(frozen=True)
class Judgement:
    """`value` is null where no vote could be read or the judge could not be asked; `verdict` then says which."""

    value: float | None
    verdict: str | None
    detail: str
    by_criterion: Mapping[str, float | None] = field(default_factory=dict)
    votes: int = 0
    prompt_tokens: int | None = None
    response_tokens: int | None = None
    seconds: float = 0.0


def reads(params: Voting, spec: Spec, round_: int) -> list[Ref]:
    """The checkpoint that judges, where one does."""
    server, name = params.where
    return [] if server else forced.Named(name).reads(spec, round_)


def versions(params: Voting, ctx: Context) -> list[str]:
    """The digest of the model that judges; a server's is unknown, its name stands in the settings."""
    server, name = params.where
    return [] if server else [forced.Named(name).model(ctx).digest]


def settings(params: Voting, spec: Spec, spec_path: Path, compares: bool) -> dict[str, Any]:
    """What votes depend on, beside the params: the text of the prompt and of the criteria, the server, the seed where votes are drawn."""
    prompt, texts = prepared(params, spec_path, compares)
    server, name = params.where
    found: dict[str, Any] = {"prompt": prompt.model_dump(mode="json", exclude={"about"}), "criteria": texts, "judge": REVISION}
    if server:
        server.check()
        found["server"] = server.settings()
    else:
        found |= forced.settings(spec) | forced.Named(name).settings(spec, spec_path) | {"sampler": backends.load(BACKEND).revision}
    return found | ({"seed": spec.seed} if params.temperature > 0 else {})


def prepared(params: Voting, spec_path: Path, compares: bool) -> tuple[Prompt, dict[str, str]]:
    """The prompt and the criteria of all prompts. SpecError where they do not fit each other or what is judged."""
    prompt = load(params.prompt, spec_path)
    if prompt.compares != compares:
        kind = ("two answers", "under `compare`") if prompt.compares else ("one answer", "in `score` or `measure`")
        raise SpecError(f"judge: the prompt {params.prompt!r} is about {kind[0]}", where=str(spec_path), hint=f"use it {kind[1]}")
    read = params.read or prompt.read
    if read == "logprobs" and not prompt.values:
        raise SpecError(f"judge: read: logprobs needs `values`, which the prompt {params.prompt!r} lacks", where=str(spec_path))
    if read == "text" and prompt.parse is None:
        raise SpecError(f"judge: read: text needs `parse`, which the prompt {params.prompt!r} lacks", where=str(spec_path))
    if read == "logprobs" and params.votes > 1:
        text = f"judge: votes: {params.votes}, but the probabilities of one reply are read (read: logprobs)"
        raise SpecError(text, where=str(spec_path), hint="set votes: 1 and temperature: 0, or read: text")
    return prompt, criteria.load(params, prompt, spec_path)


def judged(ctx: Context, params: Voting, cases: Sequence[Case], compares: bool, label: str) -> tuple[list[Judgement], dict[str, Any]]:
    """A judgement for each case, in order, and what it took (requests, tokens, cost) for the ledger."""
    prompt, texts = prepared(params, ctx.spec_path, compares)
    plans = [_criteria(params, prompt, texts, case) for case in cases]
    questions: dict[str, Question] = {}
    for case, plan in zip(cases, plans, strict=True):
        for name, text in plan.items():
            names = _named(prompt, case, text)
            questions[_key(case, name)] = Question(_key(case, name), prompt.messages(names))
    ballots, usage = ask(ctx, params, prompt, list(questions.values()), label)
    found = [
        _judgement(params, {name: ballots[_key(case, name)] for name in plan}, "criterion" in prompt.names)
        for case, plan in zip(cases, plans, strict=True)
    ]
    server, _ = params.where
    detail: dict[str, Any] = {"unparseable": sum(one.verdict == UNPARSEABLE for one in found)}
    detail["unread_votes"] = sum(vote.value is None for ballot in ballots.values() for vote in ballot.votes)
    if usage and server:
        detail |= {"requests": usage.requests, "retries": usage.retries, "failures": usage.failures}
        detail |= {"prompt_tokens": usage.prompt_tokens, "response_tokens": usage.response_tokens, "cost": server.cost(usage)}
    return found, detail


def _key(case: Case, criterion: str) -> str:
    return f"{case.key}/{criterion}" if criterion else case.key


def _criteria(params: Voting, prompt: Prompt, texts: Mapping[str, str], case: Case) -> Mapping[str, str]:
    if "criterion" not in prompt.names:
        return {"": ""}
    return criteria.own(params.criteria_field, case.meta, case.place) if params.criteria_field else texts


def _named(prompt: Prompt, case: Case, criterion: str) -> dict[str, str]:
    names = {name: text for name, text in case.names.items() if text is not None} | {"criterion": criterion}
    lost = sorted(prompt.names - set(names))
    if lost:
        hint = "set prompts.fields.reference, or take a prompt that needs none"
        raise DataError(f"judge: the prompt file asks for {{{lost[0]}}}, and this prompt has none", where=f"prompt {case.place}", hint=hint)
    return names


def _judgement(params: Voting, ballots: Mapping[str, Ballot], split: bool) -> Judgement:
    """One number from the ballots of each criterion: the mean of those that have one. With a failed request there is none, so that
    a later run asks again."""
    values = {name: aggregate((vote.value for vote in ballot.votes), params.aggregate) for name, ballot in ballots.items()}
    failed = next((ballot for ballot in ballots.values() if ballot.verdict), None)
    known = [value for value in values.values() if value is not None]
    told = {name: _told(ballot) for name, ballot in ballots.items()}
    detail: dict[str, Any] = {"criteria": told} if split else next(iter(told.values()))
    if failed:
        detail["why"] = failed.words
    elif not known:
        detail["why"] = "no vote could be read"
    return Judgement(
        value=round(math.fsum(known) / len(known), PLACES) if known and not failed else None,
        verdict=failed.verdict if failed else None if known else UNPARSEABLE,
        detail=canonical(detail),
        by_criterion={name: None if failed else value for name, value in values.items()} if split else {},
        votes=sum(vote.value is not None for ballot in ballots.values() for vote in ballot.votes),
        prompt_tokens=_sum(ballot.prompt_tokens for ballot in ballots.values()),
        response_tokens=_sum(ballot.response_tokens for ballot in ballots.values()),
        seconds=sum(ballot.seconds for ballot in ballots.values()),
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _told(ballot: Ballot) -> dict[str, Any]:
    """Votes, the texts that they were read from, the first rationale, and the mean margin of probabilities."""
    found: dict[str, Any] = {"votes": [vote.value for vote in ballot.votes], "texts": [vote.text[:TEXT] for vote in ballot.votes]}
    rationale = next((vote.rationale for vote in ballot.votes if vote.rationale), None)
    margins = [vote.margin for vote in ballot.votes if vote.margin is not None]
    found |= {"rationale": rationale[:RATIONALE]} if rationale else {}
    return found | ({"margin": round(math.fsum(margins) / len(margins), PLACES)} if margins else {})
