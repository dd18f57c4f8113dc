"""Calls as models write them: OpenAI's `tool_calls`, JSON objects with name and arguments, <tool_call> tags, Python's f(a=1)."""

from __future__ import annotations

import ast
import re
from typing import Any

from engine.score.calls import Call, Unreadable
from engine.score.json_text import fenced, loads, values

OPEN, CLOSE = "<tool_call>", "</tool_call>"
ARGUMENTS = ("arguments", "parameters", "args", "input")
HEAD = re.compile(r"(?:\[\s{0,20})?\b[A-Za-z_][\w.]{0,99}\(")  # where a call, or a list of them, begins
LONGEST = 50_000  # characters that are parsed as Python


def read(text: str, form: str = "auto") -> list[Call]:
    """The calls of an answer, in order; none where it makes none. Unreadable where it tries to and fails."""
    if form == "tags" or (form == "auto" and OPEN in text):
        return tagged(text)
    if form == "python":
        return python(text)
    found, trouble = [], None
    for value in values(text):
        try:
            found += of_json(value)
        except Unreadable as error:
            trouble = error
    if found:
        return found
    if trouble and (form == "json" or _span(text) is None):
        raise trouble
    return [] if form == "json" else python(text)


def tagged(text: str) -> list[Call]:
    """The calls between <tool_call> and </tool_call>, each a JSON object."""
    found = []
    for part in text.split(OPEN)[1:]:
        inside, closed, _ = part.partition(CLOSE)
        if not closed:
            raise Unreadable("a <tool_call> is not closed")
        try:
            found += of_json(loads(inside.strip()))
        except ValueError as error:
            raise Unreadable(f"a <tool_call> holds no call: {error}") from error
    return found


def of_json(value: Any) -> list[Call]:
    """The calls of a JSON value. Unreadable where it is of another shape."""
    if isinstance(value, list):
        return [call for one in value for call in of_json(one)]
    if not isinstance(value, dict):
        raise Unreadable(f"expected an object with name and arguments, found {type(value).__name__}")
    if isinstance(value.get("tool_calls"), list):
        return of_json(value["tool_calls"])
    if isinstance(value.get("function"), dict):
        return of_json(value["function"])
    if isinstance(value.get("name"), str):
        given = [key for key in ARGUMENTS if key in value]
        return [Call(value["name"], _arguments(value["name"], value[given[0]] if given else {}))]
    if len(value) == 1:  # {"f": {"a": 1}}, as BFCL has them
        name, arguments = next(iter(value.items()))
        if isinstance(arguments, dict):
            return [Call(name, arguments)]
    raise Unreadable(f"no name of a tool among the keys {sorted(value)[:8]}")


def _arguments(name: str, given: Any) -> dict[str, Any]:
    """Arguments as an object, or as the JSON text of one (OpenAI)."""
    if isinstance(given, str):
        try:
            given = loads(given) if given.strip() else {}
        except ValueError as error:
            raise Unreadable(f"the arguments of {name} are no JSON: {error}") from error
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Unreadable(f"the arguments of {name} are {type(given).__name__}, expected an object")
    return given


def python(text: str) -> list[Call]:
    """Calls written as Python: f(a=1), or a list of them. They are parsed as text and never run; values are literals."""
    for block in [*reversed(fenced(text)), text]:
        span = _span(block)
        if span is None:
            continue
        try:
            return _parsed(block.strip())
        except Unreadable:
            return _parsed(span)
    return []


def _span(text: str) -> str | None:
    """From the first call's name (or the bracket before it) to the last closing one; a pattern with .* would take quadratic time."""
    end = text.rfind(")") + 1
    head = HEAD.search(text, 0, end)
    if head is None:
        return None
    if head[0].startswith("["):
        rest = text[end:]
        end += len(rest) - len(rest.lstrip()) + 1 if rest.lstrip().startswith("]") else 0
    return text[head.start() : end]


def _parsed(text: str) -> list[Call]:
    if len(text) > LONGEST:
        raise Unreadable(f"{len(text):,} characters of calls, at most {LONGEST:,} are read")
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"not Python: {error}") from error
    found: list[Call] = []
    for statement in statements:
        if not isinstance(statement, ast.Expr):
            raise Unreadable("something that is no call stands among the calls")
        value = statement.value
        found += [_call(one) for one in (value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value])]
    return found


def _call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise Unreadable("something that is no call stands among the calls")
    name = ast.unparse(node.func)
    if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
        raise Unreadable(f"{name[:40]} is no name of a tool")
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        raise Unreadable(f"{name} has an argument without a name")
    try:
        return Call(name, {str(keyword.arg): _as_json(ast.literal_eval(keyword.value)) for keyword in node.keywords})
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise Unreadable(f"an argument of {name} is no literal") from error


def _as_json(value: Any) -> Any:
    """A literal as JSON has it: tuples are arrays. ValueError for what JSON cannot say."""
    if isinstance(value, (list, tuple)):
        return [_as_json(one) for one in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _as_json(one) for key, one in value.items()}
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise ValueError(f"JSON has no {type(value).__name__}")
