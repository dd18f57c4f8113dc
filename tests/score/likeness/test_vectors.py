"""Vendi score and cosines between siblings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.score.likeness.vectors import apart, of_similarities, unit, vendi


def test_the_catalogues_vendi_scores():
    assert of_similarities(np.eye(3)) == pytest.approx(3)
    assert of_similarities(np.ones((3, 3))) == pytest.approx(1)
    assert of_similarities(np.array([[1, 0.5], [0.5, 1]])) == pytest.approx(1.7548, abs=5e-5)
    assert of_similarities(np.array([[1, 0.5], [0.5, 1]]), math.inf) == pytest.approx(1 / 0.75)
    assert of_similarities(np.array([[1, 0.5], [0.5, 1]]), 2) == pytest.approx(1 / (0.75**2 + 0.25**2))


def test_both_forms_have_one_value():
    lot = np.random.default_rng(1)
    wide, narrow = unit(lot.normal(size=(5, 40))), unit(lot.normal(size=(40, 5)))
    assert vendi(wide) == pytest.approx(of_similarities(wide @ wide.T))
    for order in (0.5, 1.0, 2.0, math.inf):
        assert vendi(narrow, order) == pytest.approx(of_similarities(narrow @ narrow.T, order), abs=1e-6)


def test_vectors_of_zeros_are_one_answer():
    assert vendi(unit(np.zeros((3, 4)))) == 1.0
    assert apart(unit(np.zeros((2, 4)))) == [1.0, 1.0]


def test_apart_is_one_minus_the_mean_cosine_with_the_others():
    lot = np.random.default_rng(2)
    vectors = unit(lot.normal(size=(6, 8)).astype(np.float32))
    cosines = vectors @ vectors.T
    assert apart(vectors) == pytest.approx([1 - (row.sum() - 1) / 5 for row in cosines], abs=1e-7)
    assert apart(vectors[:1]) == [None] and apart(vectors[:0]) == []
