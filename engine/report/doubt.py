"""Which answers a person should look at: the strata of an audit, from the scores that an answer and its siblings have.

Every answer lies in exactly one stratum and each stratum is drawn from at random, so an answer's chance to be drawn is known and
estimates can weigh for it. What is doubtful is drawn more densely, what is not still has a chance: else nobody would learn of a
verifier's errors where it never doubted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.similarity import normalised

# in order: an answer lies in the first that it meets; the number is its share of the draw
STRATA: dict[str, tuple[float, str]] = {
    "failed": (1, "the scorer ran out of time or failed"),
    "unparseable": (2, "the scorer could not read the answer"),
    "disagreement": (2, "one scorer says right, another wrong"),
    "near": (2, "not right, and the answer's end is near the reference"),
    "siblings": (2, "not right, and another answer to the prompt is"),
    "bar": (2, "a number near the bar"),
    "wrong": (1, "not right, without any of these"),
    "right": (1, "right, without any of these"),
    "unscored": (1, "the scorer gave neither a number nor a verdict"),
}
RULES = ("doubtful", "random", "disagreement")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
TAIL = 200  # characters of an answer's end and of a reference's in which a final answer is looked for
ALIKE = 90.0  # rapidfuzz's partial ratio from which two final answers are near
CLOSE = 0.01  # relative distance up to which two numbers are near
BAND = 0.1  # share of the range of numbers that counts as near the bar


@dataclass(frozen=True)
class Seen:
    """What one scorer said of an answer."""

    value: float | None
    verdict: str | None


@dataclass(frozen=True)
class Item:
    """An answer as the strata see it. `scores` by scorer, the combined score and people left out; `main` is the audited one's."""

    item_id: str
    prompt_id: str
    response: str
    reference: str | None
    main: Seen | None
    scores: Mapping[str, Seen]


def strata(items: list[Item], bar: float, rule: str) -> dict[str, list[str]]:
    """Item ids by stratum; empty strata are left out. `bar`: the number from which on a scorer without verdicts approves."""
    if rule == "random":
        return {"all": [item.item_id for item in items]}
    values = [item.main.value for item in items if item.main and item.main.value is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    solved = {item.prompt_id for item in items if approves(item.main, bar)}
    found: dict[str, list[str]] = {}
    for item in items:
        found.setdefault(_stratum(item, bar, (low, high), solved), []).append(item.item_id)
    if rule == "disagreement":
        return {name: ids for name, ids in found.items() if name == rule}
    return {name: found[name] for name in STRATA if name in found}


def _stratum(item: Item, bar: float, span: tuple[float, float], solved: set[str]) -> str:
    main = item.main
    if main is None or (main.value is None and main.verdict is None):
        return "unscored"
    if main.verdict in ("timeout", "error"):
        return "failed"
    if main.verdict == "unparseable":
        return "unparseable"
    if {"right", "wrong"} <= {seen.verdict for seen in (main, *item.scores.values())}:
        return "disagreement"
    low, high = span
    # 0 and 1 of a verifier lie at the ends, not near the bar
    is_close = main.value is not None and low < main.value < high and abs(main.value - bar) <= BAND * (high - low)
    if approves(main, bar):
        return "bar" if is_close else "right"
    if is_near(item.response, item.reference):
        return "near"
    if item.prompt_id in solved:
        return "siblings"
    return "bar" if is_close else "wrong"


def approves(seen: Seen | None, bar: float) -> bool:
    """Whether a scorer calls the answer right, or without a verdict gives it `bar` or more."""
    if seen is None:
        return False
    return seen.verdict == "right" if seen.verdict else seen.value is not None and seen.value >= bar


def is_near(response: str, reference: str | None) -> bool:
    """Whether the end of an answer has the reference's final answer, or nearly: a number within 1%, else a like text."""
    from rapidfuzz import fuzz

    end, wanted = response.strip()[-TAIL:], (reference or "").strip()[-TAIL:]
    if not wanted or not end:
        return False
    number = _numbers(wanted)[-1:]
    if number:
        return any(abs(found - number[0]) <= CLOSE * abs(number[0]) for found in _numbers(end))
    one, other = normalised(end), normalised(wanted.splitlines()[-1])
    if not other:
        return False
    return f" {other} " in f" {one} " or (len(other) > 3 and fuzz.partial_ratio(one, other) >= ALIKE)


def _numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]
