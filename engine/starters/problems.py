"""Makes the quickstart's word problems: six topics, worked solutions, and held-out sets that share no problem with the pool.

A problem's key is (topic, numbers) where it has three or more numbers, and its text where it has two: there are too few
pairs to keep them apart. A hash of the key says whether the problem belongs to test, gate or the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from engine.errors import DataError
from engine.ids import digest
from engine.randomness import row_keys, uniforms

WORDS = Path(__file__).parent / "quickstart" / "words.yaml"
SEED = 20  # of the data; the experiment's seed is another
SIZES = {"test": 600, "gate": 300, "base": 1000, "train": 8000}
SHARES = {"test": 0.13, "gate": 0.07}  # of all keys; the rest is the pool's
BLOCK, LIMIT = 4096, 400_000  # candidates
TRIES = 5  # at numbers that keep a topic's rule; a candidate that fails all would thin its topic out
DRAWS = 4 + 4 * TRIES
Pick = Callable[[int, int], int]


@dataclass(frozen=True)
class Problem:
    """A question, its topic, the numbers in it, its worked solution as a model writes it, and the answer."""

    question: str
    topic: str
    numbers: tuple[int, ...]
    solution: str
    answer: int

    def home(self) -> str:
        """The set that may hold it: test, gate or pool."""
        key = [self.topic, list(self.numbers)] if len(self.numbers) > 2 else [self.question]
        share = int(digest("quickstart", *key), 16) / 2.0**64
        if share < SHARES["test"]:
            return "test"
        return "gate" if share < SHARES["test"] + SHARES["gate"] else "pool"


def _gain(pick: Pick) -> tuple[tuple[int, ...], list[tuple[int, str, int]]]:
    a, b = pick(2, 40), pick(2, 12)
    return (a, b), [(a, "+", b)]


def _loss(pick: Pick) -> tuple[tuple[int, ...], list[tuple[int, str, int]]]:
    a = pick(6, 40)
    b = pick(2, min(20, a - 1))
    return (a, b), [(a, "-", b)]


def _packs(pick: Pick) -> tuple[tuple[int, ...], list[tuple[int, str, int]]]:
    a, b, c = pick(2, 5), pick(2, 8), pick(2, 12)
    return (a, b, c), [(a, "*", b), (a * b, "+", c)]


def _share(pick: Pick) -> tuple[tuple[int, ...], list[tuple[int, str, int]]]:
    k, q, e = pick(2, 6), pick(2, 9), pick(2, 12)
    return (k * q, k, e), [(k * q, "/", k), (q, "+", e)]


def _shop(pick: Pick) -> tuple[tuple[int, ...], list[tuple[int, str, int]]]:
    a, b = pick(2, 4), pick(2, 5)
    p = pick(a * b + 1, 40)
    return (a, b, p), [(a, "*", b), (p, "-", a * b)]


def _chain(pick: Pick) -> tuple[tuple[int, ...], list[tuple[int, str, int]]] | None:
    for _ in range(TRIES):
        a, b, c, times = pick(3, 20), pick(2, 12), pick(2, 12), pick(2, 3)
        left = a + b - c
        if 1 <= left <= 20:
            return (a, b, c, times), [(a, "+", b), (a + b, "-", c), (left, "*", times)]
    return None


TOPICS = {"gain": _gain, "loss": _loss, "packs": _packs, "share": _share, "shop": _shop, "chain": _chain}


def _result(a: int, sign: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[sign]


def make(draws: np.ndarray, words: dict[str, Any], topic: str) -> Problem | None:
    """The problem of `topic` that uniform draws (shape (DRAWS,)) choose; None where they break the topic's rule."""
    rest = iter(draws[4:])

    def pick(low: int, high: int) -> int:
        return low + int(next(rest) * (high - low + 1))

    made = TOPICS[topic](pick)
    if made is None:
        return None
    numbers, steps = made
    names, things, templates = words["names"], words["things"], words["topics"][topic]["templates"]
    first = int(draws[1] * len(names))
    other = (first + 1 + int(draws[2] * (len(names) - 1))) % len(names)
    # one draw serves both small choices: its digits in base 2 and then in base 6
    surface = int(draws[3] * len(templates) * len(things))
    filled = dict(zip("abc", numbers, strict=False)) | {"times": words["times"].get(numbers[-1], "")}
    question = templates[surface % len(templates)].format(
        name=names[first], other=names[other], things=things[surface // len(templates)], **filled
    )
    lines = [f" {a}{sign}{b}={_result(a, sign, b)}." for a, sign, b in steps]
    answer = _result(*steps[-1])
    return Problem(question, topic, numbers, "".join(lines) + f" Answer: {answer}", answer)


def _candidates(split: str, seed: int, words: dict[str, Any]) -> Iterator[Problem]:
    names = list(words["topics"])
    weights = np.cumsum([words["topics"][name]["weight"] for name in names], dtype=float)
    for start in range(0, LIMIT, BLOCK):
        keys = row_keys(seed, 0, f"quickstart/{split}", (str(i) for i in range(start, start + BLOCK)))
        draws = np.stack([uniforms(keys, draw) for draw in range(DRAWS)], axis=1)
        for row in draws:
            chosen = names[int(np.searchsorted(weights, row[0] * weights[-1], side="right"))]
            problem = make(row, words, chosen)
            if problem is not None:
                yield problem


def problems(seed: int = SEED) -> dict[str, list[Problem]]:
    """All sets by name (test, gate, base, train), without a question that stands twice; the same for the same seed."""
    words = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    seen: set[str] = set()
    found: dict[str, list[Problem]] = {}
    for split, size in SIZES.items():
        chosen: list[Problem] = []
        # held-out sets take all topics alike, so that figures by topic are equally sure
        room = dict.fromkeys(words["topics"], size // len(words["topics"]) if split in SHARES else size)
        home = split if split in SHARES else "pool"
        for problem in _candidates(split, seed, words):
            if problem.home() != home or problem.question in seen or not room[problem.topic]:
                continue
            seen.add(problem.question)
            room[problem.topic] -= 1
            chosen.append(problem)
            if len(chosen) == size:
                break
        if len(chosen) < size:
            raise DataError(f"quickstart: only {len(chosen)} of {size} {split} problems with data seed {seed}", hint="take another --seed")
        found[split] = chosen
    return found
