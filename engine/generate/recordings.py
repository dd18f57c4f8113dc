"""Reads answers that another system wrote: the rows of data files as answers to a prompt, each with who gave it.

A column may hold one answer, a list of answers, a conversation ({role, content}, ...) that ends with the answer, or a list of
objects whose fields are named with a dot: `completions.response` and `completions.model` are the answers and their models of a
column `completions` with [{model, response}, ...].
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from engine import datafiles
from engine.errors import DataError
from engine.generate import Params
from engine.ids import prompt_id
from engine.registry import nearest


class RecordedParams(Params):
    """Which files, and which column is what."""

    path: str | list[str] = Field(description="JSONL, Parquet or CSV files, folders of Parquet, or Hugging Face dataset folders")
    prompt: str = Field("prompt", description="column with the prompt: its text, or its list of {role, content}")
    prompt_id: str | None = Field(None, description="column with Rondo's prompt id; replaces `prompt`")
    response: str = Field("response", description="column with the answer, a list of answers, or a conversation that ends with it")
    responses: dict[str, str] = Field({}, description="actor: column; several columns of answers, each of an actor; replaces `response`")
    actor: str | None = Field(None, description="column with who answered; none: the actor that the spec names")
    actors: list[str] | None = Field(None, min_length=1, description="keep only the answers of these; none: of all")
    model: str | None = Field(None, description="column with the model's name; none: recorded")
    take: Literal["samples", "all"] = Field("samples", description="of each actor's answers to a prompt the first `samples`, or all")
    duplicates: Literal["keep", "first"] = Field("keep", description="of equal answers of an actor to a prompt keep all, or the first")
    missing: Literal["error", "skip"] = Field("error", description="what a prompt with too few answers of an actor means")

    @model_validator(mode="after")
    def _one_way(self) -> RecordedParams:
        if self.responses and (self.actor or "response" in self.model_fields_set):
            raise ValueError("responses: it names actors and columns, so leave `response` and `actor` out")
        return self

    @property
    def answers(self) -> list[tuple[str | None, str]]:
        """(actor, column) of every column of answers; the actor None where another column or the spec names it."""
        return [*self.responses.items()] or [(None, self.response)]


class Recorded(NamedTuple):
    """One answer of the files; `number` is its place among all of them."""

    number: int
    response: str
    actor: str
    model: str


@dataclass
class Recordings:
    """Answers by prompt id ('id:...') or by text ('text:...'), and who gave them in order of first appearance."""

    found: dict[str, list[Recorded]] = field(default_factory=lambda: defaultdict(list))
    actors: dict[str, None] = field(default_factory=dict)
    count: int = 0

    def of(self, prompt: str, messages: list[dict[str, Any]]) -> list[Recorded]:
        """The answers to a prompt in the order of the files: found by its id, its messages or its text."""
        keys = dict.fromkeys([f"id:{prompt}", *(f"text:{text}" for text in _texts(messages))])
        return sorted(answer for key in keys for answer in self.found.get(key, ()))


def read(params: RecordedParams, spec_path: Path, actor: str) -> Recordings:
    """Every answer of the files; `actor` gave those that name nobody. DataError names the file and line of a wrong row."""
    rows, made = datafiles.read(params.path, spec_path.parent), Recordings()
    _need_columns(params, rows)
    keep = None if params.actors is None else set(params.actors)
    for index, row in enumerate(rows.rows):
        place = rows.place(index)
        for who, column in params.answers:
            value = _value(row, column)
            if value is None and who is not None:
                continue  # this actor has no answer in this row
            asked, texts = _responses(value, column, place)
            key = _key(params, column, row, asked, place)
            names = [who] * len(texts) if who else _names(row, params.actor, actor, len(texts), place)
            for text, name, model in zip(texts, names, _names(row, params.model, "recorded", len(texts), place), strict=True):
                if keep is None or name in keep:
                    made.found[key].append(Recorded(made.count, text, name, model))
                    made.actors[name] = None
                    made.count += 1
    lost = sorted((keep or set()) - set(made.actors))
    if lost:
        known = sorted(made.actors) or ["nobody else"]
        raise DataError(f"no answer of {', '.join(lost)} in the files", where=str(params.path), hint=f"params.actors: found {known}")
    return made


def _texts(messages: list[dict[str, Any]]) -> list[str]:
    """What a prompt is found by: all contents joined by newlines, and the last user message alone."""
    users = [m["content"] for m in messages if m["role"] == "user"]
    return [text.strip() for text in ("\n".join(m["content"] for m in messages), *users[-1:])]


def _need_columns(params: RecordedParams, rows: datafiles.Rows) -> None:
    for column in (params.prompt_id or params.prompt, params.actor, params.model, *(column for _, column in params.answers)):
        if column is not None and column not in rows.columns and column.partition(".")[0] not in rows.columns:
            raise DataError(
                f"no column {column!r} in the recorded answers; columns: {', '.join(rows.columns)}",
                where=rows.place(0),
                hint=f"name it in generate.params; {nearest(column, rows.columns)}",
            )


def _value(row: dict[str, Any], column: str) -> Any:
    """A cell, or with a dot the field of an object or of each of a list of objects; None where there is none."""
    if column in row:
        return row[column]
    head, _, name = column.partition(".")
    inner = row.get(head) if name else None
    if isinstance(inner, list):
        return [item.get(name) if isinstance(item, dict) else None for item in inner]
    return inner.get(name) if isinstance(inner, dict) else None


def _key(params: RecordedParams, column: str, row: dict[str, Any], asked: list[list[dict[str, Any]]], place: str) -> str:
    """What the row's prompt is found by. DataError where its answers are those to another prompt."""
    if params.prompt_id is None and params.prompt == column:
        if len(asked) == 1 and asked[0]:
            return f"id:{prompt_id(asked[0])}"
        raise DataError(f"column {column!r}: expected a conversation with the prompt and one answer", where=place)
    own = params.prompt_id or params.prompt
    value = _value(row, own)
    if params.prompt_id and isinstance(value, str) and value.strip():
        return f"id:{value}"
    if isinstance(value, str) and value.strip() and not params.prompt_id:
        key, text = f"text:{value.strip()}", value.strip()
    elif not params.prompt_id and _is_chat(value):
        key, text = f"id:{prompt_id(value)}", _texts(value)[-1]
    else:
        kind = "a prompt id" if params.prompt_id else "text or a list of {role, content}"
        raise DataError(f"column {own!r}: expected {kind}, found {value!r:.80}", where=place)
    other = next((_texts(chat)[-1] for chat in asked if chat and text not in _texts(chat)), None)
    if other is not None:
        text = f"column {column!r}: the conversation asks {other!r:.60}, column {own!r} something else: {text!r:.60}"
        raise DataError(text, where=place, hint="an answer is one message; what stands before it must be the prompt")
    return key


def _is_chat(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)


def _responses(value: Any, column: str, place: str) -> tuple[list[list[dict[str, Any]]], list[str]]:
    """(the messages that stand before each answer, the answers)."""
    values = [value] if not isinstance(value, list) or _is_chat(value) else value
    asked, texts = list[list[dict[str, Any]]](), list[str]()
    for one in values:
        if isinstance(one, str):
            asked.append([])
            texts.append(one)
        elif _is_chat(one) and one[-1]["role"] == "assistant" and (len(one) == 1 or one[-2]["role"] != "assistant"):
            asked.append(one[:-1])
            texts.append(one[-1]["content"])
        else:
            break
    if not values or len(texts) < len(values):
        kind = "an answer, a list of answers, or a conversation that ends with the assistant's answer"
        raise DataError(f"column {column!r}: expected {kind}, found {value!r:.80}", where=place)
    return asked, texts


def _names(row: dict[str, Any], column: str | None, default: str, count: int, place: str) -> list[str]:
    """A name for each of the row's answers: the same one for all, or a list of as many."""
    value = default if column is None else _value(row, column)
    names = value if isinstance(value, list) else [value] * count
    if len(names) != count or not all(isinstance(name, str) and name for name in names):
        kind = f"a name, or {count} names for {count} answers" if isinstance(value, list) else "a name"
        raise DataError(f"column {column!r}: expected {kind}, found {value!r:.80}", where=place)
    return names
