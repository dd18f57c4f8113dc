"""A judge on this machine: a model of the experiment or a folder, through the sampler that answers prompts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import pyarrow as pa

from engine import models
from engine.generate import Job, backends, drive
from engine.score import ERROR, choices, forced
from engine.score.judge import LONGEST_TEXT, Voting
from engine.score.judge.panel import STEP, Ballot, Question
from engine.score.judge.prompt import Prompt
from engine.score.judge.votes import by_probability, vote
from engine.spec import Sampler
from engine.step import Context, Model
from engine.tables import CHAT

BACKEND = "transformers"


def ask(ctx: Context, params: Voting, name: str, prompt: Prompt, questions: Sequence[Question], label: str) -> dict[str, Ballot]:
    """The ballot of each question; one that is too long for the model gets the verdict `error`."""
    if (params.read or prompt.read) == "logprobs":
        return _letters(ctx, params, name, prompt, questions, label)
    model = forced.Named(name).model(ctx)
    fits, found = _fitting(ctx, params, model, questions)
    if found:
        ctx.progress.note(f"{label}: {len(found)} of {len(questions)} questions are too long for the judge")
    if fits:
        found |= _texts(ctx, params, model, prompt, fits, label)
    return found


def _letters(ctx: Context, params: Voting, name: str, prompt: Prompt, questions: Sequence[Question], label: str) -> dict[str, Ballot]:
    how = choices.Replying(model=name, letters=tuple(prompt.values), max_length=params.max_length)
    shares = choices.replies(ctx, how, [question.messages for question in questions], label)
    return {
        question.key: Ballot(verdict=ERROR, words=f"the question has more than {params.max_length} tokens, or more than the judge takes")
        if one is None
        else Ballot((by_probability(prompt, one),))
        for question, one in zip(questions, shares, strict=True)
    }


def _fitting(ctx: Context, params: Voting, model: Model, questions: Sequence[Question]) -> tuple[list[Question], dict[str, Ballot]]:
    """The questions that the model can read with a token to spare, and ballots for the others."""
    tokenizer = models.load_tokenizer(model.path, ctx.spec.models.trust_remote_code)
    chat = ctx.spec.generate.chat
    texts = [models.render(tokenizer, list(question.messages), chat) for question in questions]
    most = min(params.max_length, _positions(ctx, model) or params.max_length)
    fits, found = [], {}
    for question, ids in zip(questions, models.encode(tokenizer, texts, chat), strict=True):
        if len(ids) < most:
            fits.append(question)
        else:
            found[question.key] = Ballot(verdict=ERROR, words=f"the question has {len(ids)} tokens, the judge takes {most} with its reply")
    return fits, found


def _positions(ctx: Context, model: Model) -> int | None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model.path, local_files_only=True, trust_remote_code=ctx.spec.models.trust_remote_code)
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def _texts(ctx: Context, params: Voting, model: Model, prompt: Prompt, questions: Sequence[Question], label: str) -> dict[str, Ballot]:
    job = Job(
        params=backends.load(BACKEND).Params(),
        sampler=Sampler(temperature=params.temperature, top_p=params.top_p, max_tokens=params.max_tokens or LONGEST_TEXT),
        samples=params.votes,
        chat=ctx.spec.generate.chat,
        model=model,
        device=ctx.device,
        seed=ctx.spec.seed,
        round=0,  # an answer that two rounds give gets the same votes in both
        step=STEP,
        trust_remote_code=ctx.spec.models.trust_remote_code,
        spec_path=ctx.spec_path,
        batch=params.batch * params.votes,
    )
    chats = pa.array([list(question.messages) for question in questions], CHAT)
    with closing(backends.load(BACKEND)(job)) as backend:
        asks = backend.prepare(pa.table({"prompt_id": [question.key for question in questions], "messages": chats}))
        made = drive.answers(
            backend, asks, batch=params.batch * params.votes, journal=ctx.journal / "replies", progress=ctx.progress, label=label
        )
    columns = ["prompt_id", "sample", "response", "prompt_tokens", "response_tokens", "seconds"]
    rows: dict[str, list[dict]] = {}
    for row in made.select(columns).sort_by([("prompt_id", "ascending"), ("sample", "ascending")]).to_pylist():
        rows.setdefault(row["prompt_id"], []).append(row)
    return {
        key: Ballot(
            votes=tuple(vote(prompt, row["response"]) for row in own),
            prompt_tokens=sum(row["prompt_tokens"] for row in own),
            response_tokens=sum(row["response_tokens"] for row in own),
            seconds=sum(row["seconds"] for row in own),
        )
        for key, own in rows.items()
    }
