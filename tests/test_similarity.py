"""Equal texts and Rouge-L: the catalogue's numbers, and a slow reference."""

from __future__ import annotations

import random

import pytest

from engine.similarity import normalised, rouge_l, words


def slow(left, right):
    """F by the textbook table of longest common subsequences."""
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    common = table[-1][-1]
    return 2 * common / (len(left) + len(right)) if common else 0.0


def test_the_catalogues_pairs():
    said = ["the cat sat on the mat", "the cat sat on mat", "a dog ran", "cat on mat"]
    first, second, third, fourth = (words(text) for text in said)
    assert rouge_l(first, second) == pytest.approx(0.9091, abs=5e-5)
    assert rouge_l(first, third) == rouge_l(second, third) == 0.0
    assert rouge_l(first, fourth) == pytest.approx(0.6667, abs=5e-5)
    assert rouge_l(second, fourth) == 0.75


def test_random_texts_as_the_slow_reference():
    lot = random.Random(3)
    for _ in range(200):
        left, right = ([lot.choice("abcde") for _ in range(lot.randrange(12))] for _ in range(2))
        assert rouge_l(left, right) == pytest.approx(slow(left, right), abs=1e-15) == rouge_l(right, left)


def test_words_and_stems():
    assert words("Adding 3 apples, NATIONALLY: don't") == ["ad", "3", "appl", "nation", "don", "t"]
    assert words("Adding 3 apples", stem=False) == ["adding", "3", "apples"]
    assert words("his Äpfel und größer") == ["his", "äpfel", "und", "größer"]  # short words and other scripts stay whole
    assert words("...") == [] and rouge_l([], ["a"]) == 0.0


def test_equal_but_for_case_and_punctuation():
    assert normalised(" Yes.\n") == normalised("yes") == "yes"
    assert normalised("a_b  c!") == "ab c" and normalised("?!") == ""
