"""Disagreement of several passes: the numbers of UPO's estimator."""

from __future__ import annotations

import math

import pytest

from engine.lake import Lake
from engine.query import Session, Window
from engine.score.heads.bald import bald, entropy, mean, variance

PASSES = (0.9, 0.8, 0.6, 0.9)


def test_information_gain_of_four_passes():
    assert mean(PASSES) == 0.8 and variance(PASSES) == pytest.approx(0.015)
    assert round(entropy(0.8), 6) == 0.500402
    assert round(math.fsum(map(entropy, PASSES)) / 4, 6) == 0.455895
    assert round(bald(PASSES), 6) == 0.044507


def test_passes_that_agree_gain_nothing_and_opposite_ones_ln_2():
    assert bald([0.3] * 7) == 0.0 and bald([1.0, 1.0]) == 0.0 and variance([0.3] * 7) == 0.0
    assert round(bald([1.0, 0.0] * 5), 6) == 0.693147
    assert entropy(0.0) == entropy(1.0) == 0.0


def test_sampling_weights_of_easy_and_of_hard_pairs(tmp_path):
    """As a selection has them in SQL: shares of 1 - B and of B."""
    gains = [bald(PASSES), bald([0.5, 0.5]), 0.4]
    session = Session(Lake(str(tmp_path)), Window())
    row = session.table("select shares([1 - b for b in $b]) as easy, shares($b) as hard", {"b": gains}).to_pylist()[0]
    assert [round(w, 6) for w in row["easy"]] == [0.373898, 0.391314, 0.234788]
    assert [round(w, 6) for w in row["hard"]] == [0.100127, 0.0, 0.899873]
    assert [round(1 / (1 + w), 6) for w in row["easy"]] == [0.727856, 0.718745, 0.809855]
