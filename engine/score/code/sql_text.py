"""What an SQL text says at its top level: whether it orders its rows, and whether it is a query at all."""

from __future__ import annotations

import re
from itertools import pairwise

_TOKEN = re.compile(r"--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|[A-Za-z_]\w*|[()]", re.DOTALL)
_READS = ("select", "with", "values")


def words(text: str) -> list[tuple[str, int]]:
    """(lower-case word, depth of brackets) of the bare words; comments, strings and quoted names are left out."""
    found: list[tuple[str, int]] = []
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "()":
            depth += 1 if token == "(" else -1
        elif token[0].isalpha() or token[0] == "_":
            found.append((token.lower(), depth))
    return found


def is_query(text: str) -> bool:
    """Whether the text begins as a query does."""
    return words(text)[:1] in [[(word, 0)] for word in _READS]


def is_ordered(text: str) -> bool:
    """Whether the outermost query has an ORDER BY: only then does the order of its rows mean something."""
    top = [word for word, depth in words(text) if depth == 0]
    return any(pair == ("order", "by") for pair in pairwise(top))
