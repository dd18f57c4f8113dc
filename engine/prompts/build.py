"""From rows of files to rows of the prompts table: columns become messages, a reference, a topic, and so on."""

from __future__ import annotations

import json
import math
import re
import string
from dataclasses import dataclass
from typing import Any, NoReturn

from engine import ids
from engine.datafiles import Rows
from engine.errors import DataError, SpecError
from engine.registry import nearest
from engine.spec import Fields

ROLES = ("system", "user", "assistant", "tool")
Row = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """A user message made of literal text and columns in braces."""

    pieces: tuple[tuple[str, str | None], ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """SpecError where braces do not close, or hold more than a column's name."""
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise SpecError(f"prompts.fields.template: {error}, in {text!r}", hint="write {{ and }} for braces that are text") from error
        for _, name, form, conversion in parsed:
            if name is not None and (not name.strip() or form or conversion):
                raise SpecError(
                    f"prompts.fields.template: braces hold one column's name, found {{{name}{form and ':' + form}}}",
                    hint="write {{ and }} for braces that are text",
                )
        if not any(name for _, name, _, _ in parsed):
            raise SpecError(f"prompts.fields.template: names no column, so that all prompts would be equal: {text!r}")
        return cls(tuple((literal, name) for literal, name, _, _ in parsed))

    @property
    def columns(self) -> list[str]:
        """The columns it names."""
        return [name for _, name in self.pieces if name is not None]


class Builder:
    """Makes prompts of one spec's `fields`; raises SpecError for fields that cannot work on any file."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.template = None if fields.messages else Template.parse(fields.template)
        self.pattern = _pattern(fields)
        used = [fields.messages, fields.task, fields.topic, fields.difficulty]
        # what the pattern cuts away (a worked solution, say) stays in meta
        used += [fields.reference] if not self.pattern else []
        self.used = {name for name in used if name} | set(self.template.columns if self.template else ())
        self.used -= set(fields.keep)

    def build(self, rows: Rows, split: str) -> list[Row]:
        """One prompts-table row (`source` is file and line) for each row. DataError names file, line and field."""
        return [self._one(row, rows, index, split) for index, row in enumerate(rows.rows)]

    def messages(self, row: Row, rows: Rows, index: int) -> list[dict[str, str]]:
        """The prompt's messages, `system` first."""
        asked = self._given(row, rows, index) if self.fields.messages else self._rendered(row, rows, index)
        system = self.fields.system
        if system is None:
            return asked
        if asked[0]["role"] == "system":
            _bad(rows, index, self.fields.messages, "has a system message, and prompts.fields.system sets one too")
        return [{"role": "system", "content": system}, *asked]

    def _one(self, row: Row, rows: Rows, index: int, split: str) -> Row:
        messages, fields = self.messages(row, rows, index), self.fields
        for name in set(fields.keep) - set(row):
            _cell(row, name, rows, index, "keep")
        # v == v leaves out NaN, which JSON does not have
        meta = {k: v for k, v in row.items() if k not in self.used and v is not None and v == v}
        return {
            "prompt_id": ids.prompt_id(messages),
            "split": split,
            "messages": messages,
            "reference": self._reference(row, rows, index),
            "task": _label(row, fields.task, rows, index, "task"),
            "topic": _label(row, fields.topic, rows, index, "topic"),
            "difficulty": _number(row, fields.difficulty, rows, index),
            "source": rows.place(index),
            "meta": ids.canonical(meta) if meta else None,
        }

    def _rendered(self, row: Row, rows: Rows, index: int) -> list[dict[str, str]]:
        assert self.template is not None
        text, blank = [], True
        for literal, name in self.template.pieces:
            text.append(literal)
            if name is not None:
                value = _text(row, name, rows, index, "template")
                text.append(value)
                blank = blank and not value.strip()
        if blank:
            _bad(rows, index, ", ".join(self.template.columns), "is empty, so there is no prompt")
        return [{"role": "user", "content": "".join(text)}]

    def _given(self, row: Row, rows: Rows, index: int) -> list[dict[str, str]]:
        name = self.fields.messages
        assert name is not None
        value = _cell(row, name, rows, index, "messages")
        if isinstance(value, str):  # CSV has no lists
            try:
                value = json.loads(value)
            except ValueError:
                _bad(rows, index, name, "expected a list of messages, found text that is not JSON")
        if not isinstance(value, list) or not value:
            _bad(rows, index, name, f"expected a list of {{role, content}}, found {_short(value)}")
        for message in value:
            if not isinstance(message, dict) or not {"role", "content"} <= set(message):
                _bad(rows, index, name, f"expected messages with role and content, found {_short(message)}")
            if message["role"] not in ROLES:
                _bad(rows, index, name, f"unknown role {message['role']!r}; {nearest(str(message['role']), list(ROLES))}")
            if not isinstance(message["content"], str) or not message["content"].strip():
                _bad(rows, index, name, f"a {message['role']} message needs text as content, found {_short(message['content'])}")
        if value[-1]["role"] in ("assistant", "system"):
            _bad(rows, index, name, f"the last message is of role {value[-1]['role']!r}; the policy answers a user (or a tool)")
        return [{"role": m["role"], "content": m["content"]} for m in value]

    def _reference(self, row: Row, rows: Rows, index: int) -> str | None:
        name = self.fields.reference
        if name is None:
            return None
        text = _text(row, name, rows, index, "reference")
        if self.pattern:
            match = self.pattern.search(text)
            if not match:
                _bad(rows, index, name, f"reference_pattern {self.pattern.pattern!r} does not match {_short(text[-60:])}")
            text = match[1] or ""
        if not text.strip():
            _bad(rows, index, name, "the reference is empty")
        return text.strip()


def _pattern(fields: Fields) -> re.Pattern[str] | None:
    if fields.reference_pattern is None:
        return None
    if fields.reference is None:
        raise SpecError("prompts.fields.reference_pattern: needs prompts.fields.reference, the column to search")
    try:
        pattern = re.compile(fields.reference_pattern)
    except re.error as error:
        raise SpecError(f"prompts.fields.reference_pattern: not a regular expression ({error}): {fields.reference_pattern!r}") from error
    if not pattern.groups:
        raise SpecError(f"prompts.fields.reference_pattern: the first group is the reference, but there is none: {pattern.pattern!r}")
    return pattern


def _bad(rows: Rows, index: int, field: str | None, text: str, hint: str = "") -> NoReturn:
    raise DataError(f"{field}: {text}", where=rows.place(index), hint=hint)


def _cell(row: Row, name: str, rows: Rows, index: int, use: str) -> Any:
    if name not in row:
        _bad(rows, index, name, "the row has no such column", f"{nearest(name, list(row))} (prompts.fields.{use} names it)")
    if row[name] is None:
        _bad(rows, index, name, f"is null, but prompts.fields.{use} needs it")
    return row[name]


def _text(row: Row, name: str, rows: Rows, index: int, use: str) -> str:
    value = _cell(row, name, rows, index, use)
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return str(value)
    _bad(rows, index, name, f"expected text or a number, found {_short(value)}")


def _label(row: Row, name: str | None, rows: Rows, index: int, use: str) -> str | None:
    if name is None or (name in row and row[name] is None):
        return None
    return _text(row, name, rows, index, use)


def _number(row: Row, name: str | None, rows: Rows, index: int) -> float | None:
    if name is None or (name in row and row[name] in (None, "")):
        return None
    value = _cell(row, name, rows, index, "difficulty")
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        _bad(rows, index, name, f"expected a number, found {_short(value)}")
    return number


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
