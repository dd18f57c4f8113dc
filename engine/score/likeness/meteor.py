"""METEOR of two texts: how much of the words they share, and in how few runs.

Source: Lavie and Agarwal, "METEOR: An Automatic Metric for MT Evaluation with High Levels of Correlation with Human Judgments", 2007,
with alpha 0.9, beta 3 and gamma 0.5, and the alignment of nltk.translate.meteor_score: words from the last to the first, each
with the last free place of the reference, first equal words, then equal stems. nltk's third stage, WordNet synonyms, is left out,
since its data is no package; so is nltk itself, which takes 6 times as long (benchmarks/likeness.py). Words are what stands between
blanks, in lower case.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from engine.similarity import stemmed

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5


class Words:
    """The words of a text, looked at once for all texts that it is compared with."""

    def __init__(self, text: str, stem: bool = True) -> None:
        self.words, self.stem = text.lower().split(), stem

    @cached_property
    def stems(self) -> list[str]:
        """Each word without its ending."""
        return [stemmed(word) for word in self.words]

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """Where each word stands, ascending."""
        return _places(range(len(self.words)), self.words)


def meteor(reference: Words, hypothesis: Words) -> float:
    """METEOR of a hypothesis: F = P R / (0.9 P + 0.1 R) times 1 - 0.5 (runs / matches)^3; 0 where no word matches.

    Equal texts of m words have 1 - 0.5 / m^3, not 1. It is not symmetric: P is of the hypothesis, R of the reference.
    """
    matches = _aligned(reference, hypothesis)
    if not matches:
        return 0.0
    precision, recall = len(matches) / len(hypothesis.words), len(matches) / len(reference.words)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    ends = [place for i, place in matches.items() if matches.get(i + 1) != place + 1]
    return (1 - GAMMA * (len(ends) / len(matches)) ** BETA) * mean


def _aligned(reference: Words, hypothesis: Words) -> dict[int, int]:
    """The place in the reference of each word of the hypothesis that has one."""
    matches: dict[int, int] = {}
    loose = _match(range(len(hypothesis.words)), hypothesis.words, reference.places, matches)
    if reference.stem and loose and len(matches) < len(reference.words):
        taken = set(matches.values())
        free = [place for place in range(len(reference.words)) if place not in taken]
        _match(loose, hypothesis.stems, _places(free, reference.stems), matches)
    return matches


def _match(loose: Sequence[int], words: list[str], places: dict[str, list[int]], matches: dict[int, int]) -> list[int]:
    """Adds to `matches`; gives the words, ascending, that found no place."""
    used: dict[str, int] = {}
    left = []
    for i in reversed(loose):
        word = words[i]
        where = places.get(word)
        if where is None or (times := used.get(word, 0)) == len(where):
            left.append(i)
            continue
        used[word] = times + 1
        matches[i] = where[-1 - times]
    return left[::-1]


def _places(which: Sequence[int], words: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place in which:
        found.setdefault(words[place], []).append(place)
    return found
