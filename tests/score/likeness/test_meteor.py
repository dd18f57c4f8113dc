"""METEOR: the catalogue's numbers, and nltk beside it on made-up texts."""

from __future__ import annotations

import random

import pytest

from engine.score.likeness.meteor import Words, meteor
from engine.similarity import stemmed

A, B, C = "the cat sat on the mat", "the cat lay on the mat", "dogs bark loudly"


class NoSynonyms:
    """WordNet without its data."""

    def synsets(self, word):
        return []


class OurStems:
    def stem(self, word):
        return stemmed(word)


def score(reference, hypothesis, stem=True):
    return meteor(Words(reference, stem), Words(hypothesis, stem))


def test_the_catalogues_numbers():
    assert score(A, B) == pytest.approx(0.806667, abs=1e-6)
    assert score(A, A) == pytest.approx(0.997685, abs=1e-6)
    assert score(A, C) == 0.0
    ordered = [score(x, y) for x in (A, B, C) for y in (A, B, C) if x != y]
    assert sum(ordered) / 6 == pytest.approx(0.268889, abs=1e-6)


def test_stems_match_where_words_do_not():
    assert score("He walks", "he walked", stem=False) == pytest.approx(0.5 * (1 - 0.5), abs=1e-12)
    assert score("He walks", "he walked") == pytest.approx(1 - 0.5 / 8, abs=1e-12)


def test_nothing_matches_nothing():
    assert score("", "a") == score("a", "") == score("", "") == 0.0


@pytest.mark.parametrize("stem", [True, False])
def test_beside_nltk(stem):
    from nltk.translate.meteor_score import single_meteor_score

    lot = random.Random(2)
    vocabulary = ["walk", "walks", "Walked", "walking", "the", "a", "dog", "dogs", "runs", "running", "Run", "nicely"]
    stemmer = OurStems()
    for _ in range(300):
        left, right = (" ".join(lot.choices(vocabulary, k=lot.randrange(0, 12))) for _ in range(2))
        if not stem:
            stemmer.stem = lambda word: word
        reference = single_meteor_score(left.split(), right.split(), stemmer=stemmer, wordnet=NoSynonyms())
        assert score(left, right, stem) == pytest.approx(reference, abs=1e-12)
