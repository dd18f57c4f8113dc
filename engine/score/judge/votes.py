"""Votes: the number in a judge's reply, and one number from several votes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from engine.score.judge.prompt import Prompt
from engine.server import Token

PLACES = 12  # decimals of what is computed from votes


class Vote(NamedTuple):
    """One reply: `value` is None where it has no number in it. `rationale`: what stands before the number.

    `margin`: of a comparison read by probabilities, log p(first) - log p(second).
    """

    value: float | None
    text: str
    rationale: str | None = None
    margin: float | None = None


def _words(prompt: Prompt) -> dict[str, float]:
    return {word.casefold(): value for word, value in prompt.values.items()}


def vote(prompt: Prompt, text: str) -> Vote:
    """The vote in a text. A number outside the range, or a word that has no value, is no vote."""
    assert prompt.parse is not None
    matches = list(re.finditer(prompt.parse, text))
    if not matches:
        return Vote(None, text)
    match = matches[-1 if prompt.match == "last" else 0]
    value = _value(prompt, match[1] or "")
    return Vote(value, text, None if value is None else text[: match.start()].strip())


def _value(prompt: Prompt, said: str) -> float | None:
    said = said.strip()
    if prompt.range is None:
        return _words(prompt).get(said.casefold())
    try:
        value = float(said)
    except ValueError:
        return None
    return value if prompt.range[0] <= value <= prompt.range[1] else None


def by_probability(prompt: Prompt, shares: Sequence[float], text: str = "") -> Vote:
    """The vote of a judge that finds the words of `values` this probable (in order, together 1)."""
    numbers = list(prompt.values.values())
    value = round(math.fsum(p * v for p, v in zip(shares, numbers, strict=True)), PLACES)
    told = ", ".join(f"{word} {share:.4g}" for word, share in zip(prompt.values, shares, strict=True))
    return Vote(value, text or told, None, _margin(numbers, shares) if prompt.compares else None)


def _margin(numbers: Sequence[float], shares: Sequence[float]) -> float:
    best, worst = (shares[numbers.index(pick(numbers))] for pick in (max, min))
    tiny = 1e-12
    return round(math.log(max(best, tiny)) - math.log(max(worst, tiny)), PLACES)


def shares_of(prompt: Prompt, tokens: Sequence[Token]) -> list[float] | None:
    """How probable each word of `values` is among them, where the reply first says one of them; None where it says none.

    Spellings that differ in case and blanks are one word. A word that is not among the most probable tokens counts 0.
    """
    words = _words(prompt)
    for token in tokens:
        if token.text.strip().casefold() in words:
            return _shares(words, token.top or {token.text: token.logprob or 0.0})
    return None


def _shares(words: Mapping[str, float], top: Mapping[str, float]) -> list[float] | None:
    mass = {word: math.fsum(math.exp(p) for text, p in top.items() if text.strip().casefold() == word) for word in words}
    total = math.fsum(mass.values())
    return [mass[word] / total for word in words] if total > 0 else None


def aggregate(values: Iterable[float | None], how: str) -> float | None:
    """One number from votes; those without a number are left out, and with none left there is none."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    if how == "median":
        return float(median(known))
    if how == "majority":
        counts = Counter(known)
        return min(known, key=lambda value: (-counts[value], value))
    return round(math.fsum(known) / len(known), PLACES)
