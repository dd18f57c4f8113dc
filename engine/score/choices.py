"""Multiple-choice questions to a model: how probable it finds each letter as the reply.

The letters' log-probabilities are compared instead of parsing a free text, so that every model answers, however small. The
questions that are shipped stand in questions.yaml.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import yaml
from pydantic import Field, model_validator

from engine.errors import StepError
from engine.score import forced
from engine.step import Context
from engine.tables import CHAT

if TYPE_CHECKING:
    from engine.score.reader import Reader

FILE = Path(__file__).with_name("questions.yaml")
Chat = Sequence[Mapping[str, str]]
SHAPE = pa.schema([("generation_id", pa.string()), ("messages", CHAT), ("response", pa.string())])


class Replying(forced.Reading):
    """Which model is asked, and what it may reply."""

    end_token: bool = Field(False, description="count the end token behind a letter")
    model: str = Field("policy", description="policy, base, a role of `train`, or a folder with a model, relative to the spec")
    letters: tuple[str, ...] = Field(("A", "B"), description="the replies, in the order that the questions give them")

    @model_validator(mode="after")
    def _distinct(self) -> Replying:
        if len(set(self.letters)) < len(self.letters) or not all(self.letters):
            count = {2: "two", 3: "three"}.get(len(self.letters), len(self.letters))
            raise ValueError(f"letters: expected {count} different replies, found {list(self.letters)}")
        return self


class Asking(Replying):
    """Also which questions, and where the gold answers come from."""

    letters: tuple[str, str, str] = Field(("A", "B", "C"), description="the replies, in the order that the questions give them")
    questions: tuple[str, ...] = Field((), description="questions with {names} in braces; none: those of questions.yaml")
    gold: str | None = Field(None, description="JSON path in prompts.meta to the gold answer, such as $.solution; none: the reference")


@lru_cache
def shipped(kind: str) -> tuple[str, ...]:
    """The questions of a kind: `reflection` with {question} and {answer}, `comparison` with {question}, {first} and {second}."""
    return tuple(yaml.safe_load(FILE.read_text(encoding="utf-8"))[kind])


def filled(question: str, values: Mapping[str, str]) -> str:
    """The question with {name} replaced by its value, once: braces inside a value stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), question)


def missing(questions: Sequence[str], names: Sequence[str]) -> str | None:
    """What is wrong with questions that must name each of `names` in braces."""
    for text in questions:
        lost = [name for name in names if f"{{{name}}}" not in text]
        if lost:
            return f"questions: {text[:60]!r} lacks {' and '.join(f'{{{name}}}' for name in lost)}"
    return None


def golds(ctx: Context, path: str | None) -> dict[str, str]:
    """The gold answer of each prompt of the round. QueryError, naming the prompt, where there is none."""
    rows = ctx.sql("select prompt_id, gold_answer(prompt_id, meta, reference, $gold, '{gold}') as gold from prompts", {"gold": path})
    return dict(zip(rows["prompt_id"].to_pylist(), rows["gold"].to_pylist(), strict=True))


def asked(messages: Sequence[Mapping[str, Any]]) -> str:
    """A prompt as the text that stands for {question}."""
    return "\n".join(message["content"] for message in messages)


def replies(ctx: Context, how: Replying, questions: Sequence[str | Chat], label: str) -> list[tuple[float, ...] | None]:
    """The probability of each letter among the letters, question by question; None where a question is too long.

    A question is a text, or the whole chat that the model gets. Log-probabilities are rounded to 2 decimals first, so that no
    batch can change a probability. Equal questions are read once.
    """
    if not questions:
        return []
    reader = forced.load(ctx, forced.Named(how.model).model(ctx), how)
    _different(reader, how)
    rows: list[dict[str, Any]] = [
        {"generation_id": f"{i}/{n}", "messages": chat, "response": letter}
        for i, chat in enumerate([{"role": "user", "content": one}] if isinstance(one, str) else list(one) for one in questions)
        for n, letter in enumerate(how.letters)
    ]
    from engine.score.reader import Likelihood

    table = pa.Table.from_pylist(rows, schema=SHAPE)
    made = forced.read(ctx, table, reader, lambda: Likelihood(reader), Likelihood.columns, label=label, journal=ctx.journal)
    totals, size = made["total"].to_pylist(), len(how.letters)
    return [_shares(totals[i : i + size]) for i in range(0, len(totals), size)]


def _shares(logprobs: Sequence[float | None]) -> tuple[float, ...] | None:
    known = [value for value in logprobs if value is not None]
    if len(known) < len(logprobs):
        return None
    weights = [math.exp(value - max(known)) for value in known]
    return tuple(round(weight / math.fsum(weights), 12) for weight in weights)


def _different(reader: Reader, how: Replying) -> None:
    ids = [tuple(own) for own in reader.tokenizer(list(how.letters), add_special_tokens=False)["input_ids"]]
    if len(set(ids)) < len(ids) or not all(ids):
        raise StepError(
            f"the tokenizer cannot tell the replies {', '.join(how.letters)} apart",
            where=str(reader.tokenizer.name_or_path),
            hint="give the measure other `letters`, and `questions` that name them",
        )
