"""Finds the equations of a worked solution (`18+5=23`) and computes them exactly.

An equation is two arithmetic expressions around one `=`: numbers, + - * / (also x, ×, ·, ÷ and their LaTeX), brackets,
thousands separators, money and percent signs. Chains (`2*3=6+1=7`) are one equation for each `=`. Where a side is
algebra (`2x+1`), words or nothing, there is no equation. GSM8K's `<<2+3=5>>` notes count as equations of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

_NOTE = re.compile(r"<<([^<>]*)>>")
_LATEX = [
    (re.compile(r"\\d?frac\{([^{}]*)\}\{([^{}]*)\}"), r"((\1)/(\2))"),
    (re.compile(r"\\times|\\cdot"), "*"),
    (re.compile(r"\\div"), "/"),
    (re.compile(r"\\[()\[\]]|\\left|\\right|\*\*|\\?\$|\\(?=%)|[€£]"), " "),
]
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<number>(?:\d{1,3}(?:,\d{3})+(?![\d,]*\d)|\d+)(?:\.\d+)?%?|\.\d+%?)"
    r"|(?P<operator>[-+*/×·÷−–])|(?P<times>[xX](?![A-Za-z]))|(?P<open>\()|(?P<close>\))|(?P<equals>=+)|(?P<other>[A-Za-z]+|.)",
    re.DOTALL,
)
_SAME = {"×": "*", "·": "*", "x": "*", "X": "*", "÷": "/", "−": "-", "–": "-"}
_BEGINS = ("number", "open", "operator")
_RANK = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3}


class Token(NamedTuple):
    """A piece of a solution; `spaced` when white space stands before it, `start` when a line begins with it."""

    kind: str
    text: str
    spaced: bool
    start: bool


class Equation(NamedTuple):
    """Both sides as written, and whether both are single numbers or have an operator."""

    left: list[Token]
    right: list[Token]

    def __str__(self) -> str:
        return "=".join("".join(t.text for t in side) for side in self)


def tokens(text: str) -> list[Token]:
    """The pieces of a text; `x` is an operator only between numbers or brackets."""
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    found: list[Token] = []
    spaced, start = False, True
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup or "", match[0]
        if kind == "space":
            spaced, start = True, start or "\n" in piece
            continue
        if kind == "times":
            after = text[match.end() :].lstrip()[:1]
            between = bool(found) and found[-1].kind in ("number", "close") and bool(after) and (after.isdigit() or after in "(.")
            kind = "operator" if between else "other"
        found.append(Token(kind, _SAME.get(piece, piece) if kind == "operator" else piece, spaced, start))
        spaced = start = False
    return found


def equations(text: str) -> Iterator[Equation]:
    """Every equation of `text` whose left side has an operator, notes first."""
    for note in _NOTE.findall(text):
        yield from _of(tokens(note))
    yield from _of(tokens(_NOTE.sub(" ", text)))


def _of(found: list[Token]) -> Iterator[Equation]:
    for at, token in enumerate(found):
        if token.kind != "equals" or len(token.text) > 2:
            continue
        left, right = _left(found, at), _right(found, at)
        if left and right and any(t.kind == "operator" for t in left[1:]):
            yield Equation(left, right)


def _left(found: list[Token], at: int) -> list[Token]:
    """The expression that ends before `at`; empty where it is cut out of something that is not arithmetic."""
    start = at
    while start and _joins(found[start - 1], found[start], start == at):
        start -= 1
    run = found[start:at]
    while run and run[0].kind == "open" and _depth(run) > 0:
        run = run[1:]
    if not run:
        return []
    before = found[start - 1] if start else None
    first = run[0]
    if first.kind == "operator":
        bullet = first.start and len(run) > 1 and run[1].spaced
        if bullet and first.text in "-*+":
            return run[1:]
        if first.text != "-" or len(run) < 2 or run[1].spaced:
            return []  # the operand before it is a word
    if before is None or not _cuts(before, first):
        result = start > 1 and found[start - 2].kind == "equals"  # '=17 17/3=..' is a result and a new equation
        return [] if before is not None and not result and _parted(before, run) else run
    return []


def _cuts(before: Token, first: Token) -> bool:
    """Whether the expression that `first` begins goes on to the left in a form that is not arithmetic (2x+1, 2^3, 27(1/3))."""
    if before.kind in ("number", "close"):
        return not first.start and (first.kind == "open" or before.kind == "close")
    return before.kind == "other" and (before.text in "^_xX" or (not first.spaced and (before.text.isalnum() or before.text in "\\}")))


def _parted(number: Token, run: list[Token]) -> bool:
    """Whether `number` and the `run` after it are one number written with a blank: '350 000' or '1 1/2'."""
    if number.kind != "number" or run[0].kind != "number" or run[0].start:
        return False
    return bool(re.fullmatch("0[0-9]{2}", run[0].text)) or (len(run) > 2 and run[1].text == "/" and run[2].kind == "number")


def _right(found: list[Token], at: int) -> list[Token]:
    end = at + 1
    while end < len(found) and (_joins(found[end - 1], found[end], False) if end > at + 1 else found[end].kind in _BEGINS):
        end += 1
    run = found[at + 1 : end]
    while run and run[-1].kind == "close" and _depth(run) < 0:
        run = run[:-1]
    after = found[end] if end < len(found) else None
    if not run or run[-1].kind not in ("number", "close"):
        # an expression that goes on with a word is algebra; a dash before a remark is not part of it
        return run[:-1] if len(run) == 2 and run[0].kind == "number" and run[1].text in "-+" and run[1].spaced else []
    if len(run) == 1 and _parted(run[0], found[end : end + 3] or run) and not (end + 3 < len(found) and found[end + 3].kind == "equals"):
        return []
    # '5x' and '5^2' go on, '5kg' and '5.' do not
    glued = after is not None and after.kind == "other" and not after.spaced and re.fullmatch(r"[A-Za-z^_\\]", after.text)
    return [] if glued else run


def _joins(one: Token, other: Token, last: bool) -> bool:
    """Whether two neighbours can stand in one expression (`last`: `other` is the equals sign after it)."""
    ends = ("number", "close")
    if last:
        return one.kind in ends
    if other.start:
        return False
    if one.kind in ends:
        return other.kind in ("operator", "close")
    return one.kind in ("operator", "open") and other.kind in ("number", "open", "operator")


def _depth(run: list[Token]) -> int:
    return sum((t.kind == "open") - (t.kind == "close") for t in run)


def compute(run: list[Token]) -> Fraction | None:
    """The exact value of an expression; None where it is none (two operators in a row, a division by zero)."""
    values: list[Fraction] = []
    waiting: list[str] = []
    previous = "operator"
    for token in run:
        if token.kind == "number":
            values.append(_value(token.text))
        elif token.kind == "open":
            waiting.append("(")
        elif token.kind == "close":
            while waiting and waiting[-1] != "(":
                if not _apply(values, waiting.pop()):
                    return None
            if not waiting:
                return None
            waiting.pop()
        else:
            name = token.text
            if previous in ("operator", "open"):
                if name not in "+-":
                    return None
                name = "neg" if name == "-" else "pos"
            while name not in ("neg", "pos") and waiting and waiting[-1] != "(" and _RANK.get(waiting[-1], 3) >= _RANK[name]:
                if not _apply(values, waiting.pop()):
                    return None
            waiting.append(name)
        previous = token.kind
    while waiting:
        if not _apply(values, waiting.pop()):
            return None
    return values[0] if len(values) == 1 else None


def _value(text: str) -> Fraction:
    plain = text.replace(",", "")
    return Fraction(plain[:-1]) / 100 if plain.endswith("%") else Fraction(plain)


def _apply(values: list[Fraction], name: str) -> bool:
    if name == "pos":
        return bool(values)
    if name == "neg":
        if values:
            values[-1] = -values[-1]
        return bool(values)
    if len(values) < 2 or name == "(":
        return False
    right, left = values.pop(), values.pop()
    if name == "/" and not right:
        return False
    values.append({"+": left + right, "-": left - right, "*": left * right}[name] if name != "/" else left / right)
    return True
