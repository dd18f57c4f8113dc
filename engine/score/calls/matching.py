"""When the calls of an answer are the expected ones: names, arguments, values; in order, or in any.

As the syntax-tree check of the Berkeley Function Calling Leaderboard: an expected argument may allow several values, `""` among
them lets it be left out, strings are compared without case, blanks and light punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.score.calls import Call
from engine.score.json_text import same, short

LIGHT = re.compile(r"[ ,./\-_*^]")  # what BFCL's check takes out of strings
Default = Callable[[str, str], tuple[bool, Any]]


@dataclass(frozen=True)
class Rules:
    """How values are compared. `default` gives (has one, value) of a tool's argument."""

    default: Default
    loose: bool = True
    tolerance: float = 0.0
    alternatives: bool = False
    extra: str = "default"


def difference(calls: Sequence[Call], expected: Sequence[Call], rules: Rules, in_order: bool) -> str | None:
    """What keeps the calls from being the expected ones; None where they are."""
    if len(calls) != len(expected):
        return f"{len(calls)} calls, expected {len(expected)}"
    told = [[of_call(call, wanted, rules) for call in calls] for wanted in expected]
    if in_order:
        return next((row[i] for i, row in enumerate(told) if row[i]), None)
    taken = _assigned([[one is None for one in row] for row in told])
    free = [place for place in range(len(calls)) if place not in taken.values()]
    for i, wanted in enumerate(expected):
        if i not in taken:
            alike = [place for place in free if calls[place].name == wanted.name]
            return told[i][alike[0]] if alike else f"no call of {wanted.name!r}"
    return None


def _assigned(fits: list[list[bool]]) -> dict[int, int]:
    """Expected call -> call, as many as can be (augmenting paths): a greedy choice may take the call that only another fits."""
    owner: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for j, fit in enumerate(fits[i]):
            if fit and j not in seen:
                seen.add(j)
                if j not in owner or place(owner[j], seen):
                    owner[j] = i
                    return True
        return False

    for i in range(len(fits)):
        place(i, set())
    return {i: j for j, i in owner.items()}


def of_call(call: Call, expected: Call, rules: Rules) -> str | None:
    """The first difference of two calls, arguments in order of their names."""
    if call.name != expected.name:
        return f"called {call.name!r}, expected {expected.name!r}"
    for name in sorted({*call.arguments, *expected.arguments}):
        allowed = _allowed(expected.arguments[name], rules) if name in expected.arguments else []
        if name not in call.arguments:
            if not _may_lack(name, expected, allowed, rules):
                return f"{call.name}: missing argument {name!r}"
        elif name not in expected.arguments:
            if not _may_add(call, name, rules):
                return f"{call.name}: argument {name!r} is not expected"
        elif not any(alike(call.arguments[name], value, rules) for value in allowed):
            wanted = " or ".join(short(value, 40) for value in allowed)
            return f"{call.name}: wrong value of {name!r}: found {short(call.arguments[name])}, expected {wanted}"
    return None


def _allowed(value: Any, rules: Rules) -> list[Any]:
    """The values that an expected argument allows."""
    return value if rules.alternatives and isinstance(value, list) else [value]


def _may_lack(name: str, expected: Call, allowed: list[Any], rules: Rules) -> bool:
    if rules.alternatives and "" in allowed:
        return True
    has, default = rules.default(expected.name, name)
    return has and any(alike(default, value, rules) for value in allowed)


def _may_add(call: Call, name: str, rules: Rules) -> bool:
    if rules.extra == "default":
        has, default = rules.default(call.name, name)
        return has and alike(call.arguments[name], default, rules)
    return rules.extra == "allow"


def alike(found: Any, expected: Any, rules: Rules) -> bool:
    """Whether two values are the same by the rules.

    In objects among alternatives, each value is a list of alternatives again.
    """
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(alike(a, b, rules) for a, b in zip(found, expected, strict=True))
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in {*found, *expected}:
            allowed = _allowed(expected[key], rules) if key in expected else []
            if key not in found and not (rules.alternatives and "" in allowed):
                return False
            if key in found and not any(alike(found[key], value, rules) for value in allowed):
                return False
        return True
    if rules.loose and isinstance(found, str) and isinstance(expected, str):
        return _folded(found) == _folded(expected)
    return same(found, expected, rules.tolerance)


def _folded(text: str) -> str:
    return LIGHT.sub("", text).casefold().replace("'", '"')
