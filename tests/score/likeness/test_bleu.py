"""Self-BLEU by counting once, beside nltk's sentence_bleu against all other answers."""

from __future__ import annotations

import random

import pytest

from engine.score.likeness.bleu import self_bleu


def reference(texts, n, most):
    """The slow way."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    found = []
    for i, text in enumerate(texts):
        others = [other.split() for j, other in enumerate(texts[:most]) if j != i]
        weights = (1 / n,) * n
        found.append(float(sentence_bleu(others, text.split(), weights, SmoothingFunction().method1)) if others else None)
    return found


def test_equal_answers_have_one_and_answers_without_a_common_word_none():
    assert self_bleu(["a b c d e"] * 3) == [1.0, 1.0, 1.0]
    assert self_bleu(["a b c d e", "f g h i j"]) == [0.0, 0.0]
    assert self_bleu(["a b c d e"]) == [None]
    assert self_bleu([]) == []
    assert self_bleu(["", "a b"]) == [0.0, 0.0]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_beside_nltk(n):
    lot = random.Random(n)
    for _ in range(60):
        texts = [" ".join(lot.choices("abcde", k=lot.randrange(1, 14))) for _ in range(lot.randrange(2, 7))]
        most = lot.choice([2, 3, 50])
        assert self_bleu(texts, n, most) == pytest.approx(reference(texts, n, most), abs=1e-11)


def test_the_order_of_answers_does_not_matter():
    lot = random.Random(4)
    texts = [" ".join(lot.choices("abcd", k=9)) for _ in range(6)]
    turned = self_bleu(texts[::-1])[::-1]
    assert self_bleu(texts) == turned
