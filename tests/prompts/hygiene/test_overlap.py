"""Covered words of evaluation texts, beside one look at every place of every pair."""

import random
import re

import numpy as np
import pytest

from engine.prompts.hygiene import overlap
from engine.prompts.hygiene.overlap import Index

TEST = [f"t{i}" for i in range(20)]


def text(*spans):
    """A train text with the test's words of each span (ends included) and words of its own between."""
    return " filler ".join(" ".join(TEST[a : b + 1]) for a, b in spans)


@pytest.mark.parametrize(
    ("train", "share"),
    [
        ([text((0, 7))], 0.40),
        ([text((0, 9))], 0.50),
        ([text((0, 10))], 0.55),
        ([text((0, 7), (12, 19))], 0.80),
        ([text((0, 7)), text((12, 19))], 0.40),
    ],
)
def test_shares_of_the_catalogue(train, share):
    found = Index([[" ".join(TEST)]], 8).match(train)
    assert found.share.tolist() == [share] * len(train)
    assert found.item_share.tolist() == [share]
    assert (found.share > 0.5).any() == (share > 0.5)


def test_a_short_text_matches_only_what_equals_it():
    index = Index([["one two three four five six seven"], ["What is 2+2?"]], 8)
    found = index.match(
        ["x one two three four five six seven y", "One, two three (four) five six seven.", "what is 2+2", "What is 2+2? Say it."]
    )
    assert found.share.tolist() == [0.0, 1.0, 1.0, 0.0]
    assert found.item.tolist() == [-1, 0, 1, -1]
    assert Index([["one two three four five six seven"]], 7).match(["x one two three four five six seven y"]).share.tolist() == [1.0]


def test_the_score_of_several_texts_is_their_mean():
    index = Index([[" ".join(TEST), "yes"], [" ".join(TEST[:16])]], 8)
    assert index.match([text((0, 7))]).item_share.tolist() == [0.2, 0.5]
    assert index.match(["yes"]).item_share.tolist() == [0.5, 0.0]
    assert index.match([text((0, 7)), "yes"]).item_share.tolist() == [0.5, 0.5]


def words(value):
    return [w for w in re.split(r"[\s,.?!:;()\"\-\\]", value.lower()) if w]


def slow(train, items, n):
    """(shares of train texts, shares of items): marks every word of a test text that stands in some shared run of n words."""
    scores = np.zeros((len(train), len(items)))
    for i, doc in enumerate(map(words, train)):
        runs = {tuple(doc[k : k + n]) for k in range(len(doc) - n + 1)}
        for j, item in enumerate(items):
            parts = []
            for part in map(words, item):
                if len(part) < n:
                    parts.append(float(bool(part) and part == doc))
                    continue
                marked = [False] * len(part)
                for k in range(len(part) - n + 1):
                    if tuple(part[k : k + n]) in runs:
                        marked[k : k + n] = [True] * n
                parts.append(sum(marked) / len(part))
            scores[i, j] = sum(parts) / len(parts)
    return scores


def random_texts(draw, count, vocabulary):
    found = []
    for _ in range(count):
        own = draw.choices(vocabulary, k=draw.choice([0, 1, 2, 3, 8, 20, 40]))
        if found and draw.random() < 0.5:
            other = words(draw.choice(found))
            cut = draw.randrange(len(other) + 1)
            own = own + other[cut : cut + draw.randrange(30)]
        found.append(draw.choice([" ", ", ", "-", " \n", '" ']).join(own))
    return found


@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize("hits", [1 << 21, 5])
def test_random_texts_against_the_slow_way(monkeypatch, n, hits):
    monkeypatch.setattr(overlap, "HITS", hits)
    for seed in range(6):
        draw = random.Random(seed)
        # few words, so that runs repeat within a text too
        texts = random_texts(draw, 60, [f"w{i}" for i in range(4 if seed % 2 else 40)])
        items = [texts[i : i + draw.choice([1, 1, 2, 3])] for i in range(0, 30, 3)]
        train = texts[20:]
        scores = slow(train, items, n)
        found = Index(items, n).match(train)
        assert found.share == pytest.approx(scores.max(axis=1), abs=1e-15)
        assert found.item_share == pytest.approx(scores.max(axis=0), abs=1e-15)
        for i, item in enumerate(found.item.tolist()):
            assert item == (int(np.flatnonzero(scores[i] >= scores[i].max() - 1e-15)[0]) if scores[i].max() > 0 else -1)


def test_no_items_and_no_texts():
    assert Index([], 8).match(["a b c"]).share.tolist() == [0.0]
    assert Index([["a b"]], 8).match([]).item_share.tolist() == [0.0]
