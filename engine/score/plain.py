"""Plain numbers in answers: where the final answer stands, and which number it is. No LaTeX, no algebra."""

from __future__ import annotations

import re
from collections import deque
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d+)(?:\.\d+)?|\.\d+"
_ANCHOR = re.compile(r"####|\\boxed\s*\{|\banswer\s*(?:is\b|:|=)", re.IGNORECASE)
# money and emphasis may stand around a number without changing it
_DRESS = r"(?:\\?\$|\\[(\[]|\*\*|[£€~≈:=\s])*"
_PLAIN = re.compile(
    rf"{_DRESS}(?P<sign>[-−+]?)\s*\\?\$?\s*(?P<number>(?>{NUMBER}))"
    rf"(?:\s*/\s*(?P<under>\d++))?(?P<percent>\s*\\?%)?"
    # a second operand, a power or a lone letter would make it more than a number
    r"(?!\s*[-−+*/^=_×÷\\{(]\s*[\w\\({])(?!\s*[,:]\s*\d)(?![A-Za-z]\b)(?!\w*[\d^_{])"
)
_FRACTION = re.compile(r"\s*\$?\s*([-−]?)\s*\\d?frac\{\s*(\d+)\s*\}\{\s*(\d+)\s*\}\s*\$?\s*\.?\s*")
_LAST = re.compile(rf"(?P<sign>(?<![\w)\]%.])\s?[-−])?\s*\\?\$?(?<![\d.,])(?P<number>{NUMBER})(?:/(?P<under>\d+))?(?P<percent>\s*\\?%)?")
_WHOLE = re.compile(
    rf"\s*\\?\$?\s*(?P<sign>[-−+]?)\s*\\?\$?\s*(?P<number>{NUMBER})"
    rf"(?:\s*/\s*(?P<under>\d+))?(?P<percent>\s*\\?%)?\s*\$?\.?\s*"
)


class Number(NamedTuple):
    """An exact value; whether a percent sign stood after it, and whether it was written as a fraction."""

    value: Fraction
    percent: bool = False
    fraction: bool = False


class Answer(NamedTuple):
    """The text that an answer puts forward as final, and whether it is marked as such (`####`, boxed, 'answer is')."""

    text: str
    boxed: bool


def _final_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = deque(pattern.finditer(text), maxlen=1)
    return found[0] if found else None


def _number(sign: str | None, number: str, under: str | None, percent: str | None) -> Number | None:
    value = Fraction(number.replace(",", ""))
    if under is not None:
        if not int(under):
            return None
        value /= int(under)
    return Number(-value if (sign or "").strip() in ("-", "−") else value, bool(percent), under is not None)


@lru_cache(maxsize=65536)
def whole(text: str) -> Number | None:
    """The number that `text` is, all of it ('1,234', '$5.50', '-3/4', '\\frac{1}{2}', '20%'); None where it is more than one."""
    match = _WHOLE.fullmatch(text)
    if match:
        return _number(match["sign"], match["number"], match["under"], match["percent"])
    match = _FRACTION.fullmatch(text)
    return _number(match[1], match[2], match[3], None) if match else None


def final(response: str) -> Answer | None:
    """The last answer that is marked: the line after `####` or 'answer is', or what a box holds; None where none is."""
    match = _final_match(_ANCHOR, response)
    if match is None:
        return None
    if match[0].startswith("\\"):
        inner = _braced(response, match.end())
        return None if inner is None else Answer(inner, True)
    lines = response[match.end() :].strip().split("\n", 1)
    return Answer(lines[0].strip(), False) if lines[0].strip() else None


def _braced(text: str, start: int) -> str | None:
    depth = 1
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return text[start:at]
    return None


def leading(text: str) -> Number | None:
    """The number that `text` begins with, units and sentences after it allowed ('51 books.'); None for algebra."""
    found = whole(text)
    if found is not None:
        return found
    match = _PLAIN.match(text)
    return _number(match["sign"], match["number"], match["under"], match["percent"]) if match else None


def last(text: str) -> Number | None:
    """The last number of a text."""
    match = _final_match(_LAST, text)
    return _number(match["sign"], match["number"], match["under"], match["percent"]) if match else None


def equal(found: Number, wanted: Number, decimals: int) -> bool:
    """Exact equality; a decimal also equals a fraction that it agrees with to `decimals` places.

    A percent sign on one side alone counts as written ('20%' for 20) or as a hundredth ('20%' for 0.2).
    """
    if _same(found, wanted, decimals):
        return True
    if found.percent == wanted.percent:
        return False
    scaled = found._replace(value=found.value / 100) if found.percent else found
    against = wanted._replace(value=wanted.value / 100) if wanted.percent else wanted
    return _same(scaled, against, decimals)


def _same(one: Number, other: Number, decimals: int) -> bool:
    if one.value == other.value:
        return True
    return one.fraction != other.fraction and abs(one.value - other.value) <= Fraction(1, 2 * 10**decimals)
