"""The nearest of earlier texts and vectors, beside a look at every pair."""

from __future__ import annotations

import random
import re

import numpy as np

from engine.score.likeness.nearest import by_cosine, by_ngrams
from engine.score.likeness.vectors import unit


def sets(text, n):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)} if len(words) >= n else {tuple(words)}


def slow(texts, others, n, groups, other_groups):
    found = []
    for text, group in zip(texts, groups, strict=True):
        best = (-1.0, -1)
        for j, (other, theirs) in enumerate(zip(others, other_groups, strict=True)):
            if theirs == group:
                a, b = sets(text, n), sets(other, n)
                value = len(a & b) / len(a | b)
                best = (value, j) if value > best[0] else best
        found.append((max(best[0], 0.0), best[1]))
    return found


def test_ngrams_beside_every_pair():
    lot = random.Random(3)
    for n in (1, 2, 3):
        texts, others = ([" ".join(lot.choices("abcdef", k=lot.randrange(1, 9))) for _ in range(size)] for size in (300, 40))
        for span in (1, 5):
            groups, other_groups = (np.array([lot.randrange(span + (span > 1)) for _ in some], np.int64) for some in (texts, others))
            other_groups = np.minimum(other_groups, span - 1)  # the last group, if there are several, has nothing to compare with
            found = by_ngrams(texts, others, n, groups, other_groups)
            wanted = slow(texts, others, n, groups, other_groups)
            assert np.allclose(found.similarity, [value for value, _ in wanted], atol=1e-12)
            assert found.place.tolist() == [place for _, place in wanted]


def test_cosines_beside_every_pair():
    lot = np.random.default_rng(4)
    vectors, others = unit(lot.normal(size=(290, 6))), unit(lot.normal(size=(50, 6)))
    groups, other_groups = lot.integers(0, 4, 290), lot.integers(0, 3, 50)
    found = by_cosine(vectors, others, groups, other_groups)
    cosines = np.where(groups[:, None] == other_groups, vectors @ others.T, -2)
    some = groups < 3
    assert np.allclose(found.similarity[some], cosines.max(axis=1)[some], atol=1e-5)
    assert np.array_equal(found.place[some], cosines.argmax(axis=1)[some])
    assert (found.similarity[~some] == 0).all() and (found.place[~some] == -1).all()


def test_nothing_to_compare_with():
    none = np.zeros(0, np.int64)
    found = by_ngrams(["a b"], [], 2, np.zeros(1, np.int64), none)
    assert found.similarity.tolist() == [0.0] and found.place.tolist() == [-1]
