"""Labels of clusters: the words that stand in a cluster more than elsewhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from engine.cluster.words import stop_words, tokens

WORDS = 4  # words of a label


def labels(texts: Sequence[str], assignment: Sequence[int], clusters: int) -> list[str | None]:
    """For each cluster 0 to `clusters` - 1 its most telling words, best first; null for one without any word.

    Class-based TF-IDF: a word's share of the cluster's words times ln(1 + A / f), f its count in all clusters and A the mean
    number of words a cluster. Function words and numbers are left out where others stand in the cluster. Ties by word.
    Source: Grootendorst, "BERTopic", arXiv 2203.05794.
    """
    counts = [Counter[str]() for _ in range(clusters)]
    for text, cluster in zip(texts, assignment, strict=True):
        counts[cluster].update(tokens(text))
    telling = [_only(count, lambda word: word.isalpha() and len(word) > 1 and word not in stop_words()) for count in counts]
    chosen = [found or _only(count, str.isalnum) or count for found, count in zip(telling, counts, strict=True)]
    everywhere = sum(chosen, Counter[str]())
    mean = everywhere.total() / max(1, sum(bool(count) for count in chosen))
    return [_label(count, everywhere, mean) for count in chosen]


def _only(count: Counter[str], keep: object) -> Counter[str]:
    return Counter({word: n for word, n in count.items() if keep(word)})  # type: ignore[operator]


def _label(count: Counter[str], everywhere: Counter[str], mean: float) -> str | None:
    total = count.total()
    weight = {word: round(n / total * math.log1p(mean / everywhere[word]), 12) for word, n in count.items()}
    best = sorted(weight, key=lambda word: (-weight[word], word))[:WORDS]
    return ", ".join(best) or None
