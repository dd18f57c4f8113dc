"""Self-BLEU of the answers to a prompt: BLEU of each with the others as its references; low where answers differ.

Source: Zhu et al., "Texygen", arXiv 1802.01886; BLEU as nltk.translate.bleu_score.sentence_bleu has it with its smoothing method 1
(Chen and Cherry, 2014: a precision without a match counts 0.1 matches). There every answer counts the n-grams of every other;
here they are counted once, with the two largest counts in one answer, so the work grows with the number of answers and not with its
square. Words are what stands between blanks, case and punctuation stay.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

Gram = tuple[str, ...]
EPSILON = 0.1  # matches that stand for none


def self_bleu(texts: Sequence[str], n: int = 4, most: int = 50) -> list[float | None]:
    """BLEU-n of each text, 12 decimals; the references are the first `most` texts, itself left out. None where there is none.

    Equal texts of at least n words have 1. A text without a word has 0.
    """
    words = [text.split() for text in texts]
    counts = [[_grams(one, size) for size in range(1, n + 1)] for one in words]
    tops = [_top(grams[size] for grams in counts[:most]) for size in range(n)]
    lengths = Counter(len(one) for one in words[:most])
    found: list[float | None] = []
    for i, own in enumerate(counts):
        inside = i < most
        if len(texts) < 2 or (inside and min(most, len(texts)) < 2):
            found.append(None)
            continue
        matches = [_clipped(own[size], tops[size], inside) for size in range(n)]
        size = len(words[i])
        others = [length for length, times in lengths.items() if times > (inside and length == size)]
        found.append(_bleu(matches, [max(sum(grams.values()), 1) for grams in own], size, others))
    return found


def _grams(words: list[str], n: int) -> Counter[Gram]:
    return Counter(zip(*(words[shift:] for shift in range(n)), strict=False))


def _top(texts: Iterable[Counter[Gram]]) -> dict[Gram, tuple[int, int]]:
    """For each n-gram the largest count in one text and the second largest, 0 for none."""
    found: dict[Gram, tuple[int, int]] = {}
    for counts in texts:
        for gram, times in counts.items():
            first, second = found.get(gram, (0, 0))
            if times > second:
                found[gram] = (times, first) if times > first else (first, times)
    return found


def _clipped(own: Counter[Gram], top: dict[Gram, tuple[int, int]], inside: bool) -> int:
    """Matches: each n-gram at most as often as in the reference that has it most often."""
    matches = 0
    for gram, times in own.items():
        first, second = top.get(gram, (0, 0))
        # a text that is the first one's equal has the second largest count beside it
        matches += min(times, second if inside and times == first else first)
    return matches


def _bleu(matches: list[int], totals: list[int], size: int, references: list[int]) -> float:
    if not matches[0]:
        return 0.0
    closest = min(references, key=lambda length: (abs(length - size), length))
    brevity = 1.0 if size > closest else math.exp(1 - closest / size)
    logs = [math.log((shared or EPSILON) / total) for shared, total in zip(matches, totals, strict=True)]
    return round(brevity * math.exp(math.fsum(logs) / len(logs)), 12)
