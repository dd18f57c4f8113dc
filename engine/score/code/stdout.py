"""Whether a program printed what it should: line by line, blanks at the ends of lines and of the text aside."""

from __future__ import annotations

import math
from itertools import zip_longest

SHOWN = 80


def difference(found: str, expected: str, tolerance: float | None = None) -> str | None:
    """None where the two agree, else the first line in which they differ, in words.

    With `tolerance` lines also agree where their words do, numbers among them to this absolute or relative difference.
    """
    lines = zip_longest(_lines(found), _lines(expected))
    for number, (left, right) in enumerate(lines, 1):
        if left == right or (tolerance is not None and left is not None and right is not None and _close(left, right, tolerance)):
            continue
        if left is None:
            return f"line {number}: found the end of the output, expected {_short(right)}"
        return f"line {number}: found {_short(left)}, expected {'the end of the output' if right is None else _short(right)}"
    return None


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _close(left: str, right: str, tolerance: float) -> bool:
    words, others = left.split(), right.split()
    return len(words) == len(others) and all(
        word == other or _near(word, other, tolerance) for word, other in zip(words, others, strict=True)
    )


def _near(left: str, right: str, tolerance: float) -> bool:
    try:
        return math.isclose(float(left), float(right), rel_tol=tolerance, abs_tol=tolerance)
    except ValueError:
        return False


def _short(line: str | None) -> str:
    text = repr(line)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
