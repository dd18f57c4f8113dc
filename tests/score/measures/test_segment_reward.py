"""Measure `segment_reward`: a reward model's numbers up to the end of each segment."""

from __future__ import annotations

import json

import pytest

import heads_tiny
from engine.errors import SpecError
from engine.score.measures.segment_reward import aggregated
from heads_tiny import plain
from score.measures.read_answers import ReadContext, measure, rollouts, values

TEXTS = [("a?", "One. Two? "), ("b?", "word"), ("c?", " "), ("d?", "One. " * 9)]


@pytest.fixture
def made(tmp_path):
    path = heads_tiny.save(tmp_path / "rm", max_position_embeddings=40)

    def run(**given):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        own = measure("segment_reward", model="../rm", **given).measure(ReadContext(folder, {}), rollouts(TEXTS))
        return values(own), own[""]["detail"].to_pylist()

    return path, run


def test_a_number_for_every_prefix_and_the_last_is_that_of_the_answer(made):
    path, run = made
    found, detail = run(aggregate="last")
    expected = [plain(path, text)[0] for text in ("a?One.", "a?One. Two? ")]
    assert json.loads(detail[0]) == pytest.approx(expected, abs=0.00051) and found[0] == json.loads(detail[0])[-1]
    assert json.loads(detail[1]) == [found[1]] == [pytest.approx(plain(path, "b?word")[0], abs=0.00051)]
    assert found[2:] == [None, None] and detail[2:] == ["no word to read", "truncated: 47 tokens, 40 allowed"]
    lowest, _ = run()
    assert lowest[0] == min(json.loads(detail[0]))


def test_increments_add_up_from_the_empty_answer(made):
    path, run = made
    found, detail = run(of="increment", aggregate="mean")
    whole = plain(path, "a?One. Two? ")[0] - plain(path, "a?")[0]
    assert sum(json.loads(detail[0])) == pytest.approx(whole, abs=0.0011) and found[0] == pytest.approx(whole / 2, abs=0.0006)


def test_aggregates(made):
    numbers = [0.5, 0.25, 0.8]
    assert [aggregated(numbers, how) for how in ("min", "last", "product")] == [0.25, 0.8, 0.1]
    assert aggregated(numbers, "mean") == pytest.approx(1.55 / 3)
    found, detail = made[1](sigmoid=True, aggregate="product")
    a, b = json.loads(detail[0])
    assert 0 < a < 1 and found[0] == pytest.approx(a * b, abs=1e-11)
    with pytest.raises(SpecError, match="product needs sigmoid"):
        measure("segment_reward", model="rm", aggregate="product")
