"""JSON that stands somewhere in a text: in a fenced block, as the whole of it, or between words."""

from __future__ import annotations

import json
import re
from typing import Any

FENCE = "```"
OPENING = re.compile(r"[{\[]")
TRIES = 1000  # brackets that begin no JSON before the search ends: a text of brackets alone must not take quadratic time
FAILURES = (ValueError, RecursionError)  # nested too deeply, or a number with thousands of digits


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_constant)


def loads(text: str) -> Any:
    """As json.loads, but NaN and Infinity, which JSON does not have, are errors too. ValueError, also for nesting too deep."""
    try:
        return json.loads(text, parse_constant=_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def fenced(text: str) -> list[str]:
    """What stands in the text's closed fenced blocks, in order."""
    found: list[str] = []
    block: list[str] | None = None
    for line in text.split("\n"):
        mark = line.strip()
        if block is None:
            block = [] if mark.startswith(FENCE) and FENCE not in mark[len(FENCE) :] else None
        elif mark == FENCE:
            found.append("\n".join(block))
            block = None
        else:
            block.append(line)
    return found


def values(text: str) -> list[Any]:
    """Every JSON value of the text, in order: of its fenced blocks, if any of them is one; else the whole text; else the objects and
    arrays that stand in it, of nested ones the outermost."""
    found = [value for block in fenced(text) for value in _whole(block)]
    return found or _whole(text) or _between(text)


def _whole(text: str) -> list[Any]:
    try:
        return [loads(text)]
    except ValueError:
        return []


def _between(text: str) -> list[Any]:
    found, place, failed = [], 0, 0
    while failed < TRIES and (match := OPENING.search(text, place)):
        try:
            value, place = _DECODER.raw_decode(text, match.start())
            found.append(value)
        except FAILURES:
            place, failed = match.end(), failed + 1
    return found


def difference(found: Any, expected: Any, *, subset: bool = False, tolerance: float = 0.0, path: str = "$") -> str | None:
    """Where two JSON values first differ, as '$.a[0]: found 1, expected 2'; None where they are equal.

    1 and 1.0 are equal, 1 and true are not. `subset`: objects of `found` may have further keys. `tolerance`: relative, of numbers.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in expected:
            if key not in found:
                return f"{path}: no key {key!r}"
            if told := difference(found[key], expected[key], subset=subset, tolerance=tolerance, path=f"{path}.{key}"):
                return told
        more = sorted(set(found) - set(expected))
        return f"{path}: unexpected key {more[0]!r}" if more and not subset else None
    if isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            return f"{path}: {len(found)} items, expected {len(expected)}"
        pairs = enumerate(zip(found, expected, strict=True))
        all_told = (difference(a, b, subset=subset, tolerance=tolerance, path=f"{path}[{i}]") for i, (a, b) in pairs)
        return next((one for one in all_told if one), None)
    return None if same(found, expected, tolerance) else f"{path}: found {short(found)}, expected {short(expected)}"


def same(found: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Whether two values that are no objects or arrays are equal; numbers up to a relative distance."""
    numbers = [isinstance(one, (int, float)) and not isinstance(one, bool) for one in (found, expected)]
    if all(numbers):
        return bool(found == expected) or abs(found - expected) <= tolerance * abs(expected)
    return type(found) is type(expected) and bool(found == expected)


def short(value: Any, size: int = 80) -> str:
    """JSON of a value, cut."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= size else text[: size - 1] + "…"
