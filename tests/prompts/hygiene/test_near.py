"""Near duplicates beside all pairs of sets of words, and the catalogue's figures of MinHash."""

import itertools
import random
import re

import numpy as np
import pytest

from engine.prompts.hygiene.buckets import by_bands, by_prefix, collision, optimal_bands, signatures
from engine.prompts.hygiene.near import Join, bands_of, duplicates
from engine.prompts.hygiene.shingles import Sets, shingles
from engine.spec import Near


def shingle_set(text, n):
    words = re.findall(r"\w+", text.lower())
    if len(words) < n:
        return {tuple(words)} if words else {text.strip()}
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def jaccard(one, other):
    return len(one & other) / len(one | other)


def all_pairs(texts, threshold, n):
    """The first of each text's component, by comparing every pair."""
    sets, first = [shingle_set(text, n) for text in texts], list(range(len(texts)))
    for i, j in itertools.combinations(range(len(texts)), 2):
        if jaccard(sets[i], sets[j]) >= threshold:
            low, high = sorted((first[i], first[j]))
            first = [low if f == high else f for f in first]
    return first


def corpus(seed, count, length=40, words=30):
    """Texts at every similarity: copies of earlier ones with some words changed, short ones, odd characters."""
    draw = random.Random(seed)
    vocabulary = [f"w{i}" for i in range(words)] + ["Émile", "naïve", "東京", "x_1", "don't"]
    texts = []
    while len(texts) < count:
        if texts and draw.random() < 0.6:
            rate = draw.choice([0, 0.005, 0.01, 0.02, 0.05, 0.1])
            made = [w if draw.random() >= rate else draw.choice(vocabulary) for w in draw.choice(texts).split(" ")]
        else:
            made = draw.choices(vocabulary, k=draw.choice([0, 2, 3, 5, length, length, 2 * length]))
        texts.append(draw.choice([" ", " ", "  "]).join(made) + draw.choice(["", ".", "?!", " \n"]))
    return texts


@pytest.mark.parametrize("threshold", [0.3, 0.7, 0.9, 1.0])
def test_components_are_those_of_all_pairs(threshold):
    for seed, n in ((1, 1), (2, 2), (3, 5)):
        texts = corpus(seed, 150)
        found = duplicates(texts, Near(threshold=threshold, ngram=n))
        assert found.first.tolist() == all_pairs(texts, threshold, n)
        sets = [shingle_set(text, n) for text in texts]
        assert found.similarity.tolist() == [jaccard(sets[i], sets[f]) for i, f in enumerate(found.first)]
        assert found.skipped == 0


def test_minhash_finds_no_pair_that_is_not_near_and_misses_few_far_above_the_threshold():
    texts = corpus(4, 200, length=80, words=500)
    truth, found = all_pairs(texts, 0.7, 5), duplicates(texts, Near(candidates="minhash")).first.tolist()
    assert all(truth[f] == truth[i] for i, f in enumerate(found))
    # at similarity .9 and above the chance of a miss is below 1e-4
    sets = [shingle_set(text, 5) for text in texts]
    close = [(i, j) for i, j in itertools.combinations(range(len(texts)), 2) if jaccard(sets[i], sets[j]) >= 0.9]
    assert close and all(found[i] == found[j] for i, j in close)


def test_the_toy_of_the_catalogue():
    texts = ["a b c d e f", "a b c d e g"]
    sets = Sets.of(shingles(texts, 5))
    assert sets.jaccard(np.array([0]), np.array([1])).tolist() == [1 / 3]
    assert duplicates(texts, Near(threshold=0.34)).first.tolist() == [0, 1]
    assert duplicates(texts, Near(threshold=1 / 3)).first.tolist() == [0, 0]


def test_optimal_bands_and_collision_probabilities():
    assert optimal_bands(0.7, 240) == (24, 10)
    assert optimal_bands(0.8, 128) == (9, 13)
    assert [round(float(p), 4) for p in collision(np.array([0.6, 0.7, 0.8, 0.9]), 25, 10)] == [0.1407, 0.5115, 0.9416, 1.0]
    assert [round(float(p), 4) for p in collision(np.array([0.6, 0.7, 0.8, 0.9]), 20, 13)] == [0.0258, 0.1769, 0.6773, 0.9972]
    assert bands_of(Near(candidates="minhash")) == (24, 10)
    assert bands_of(Near(candidates="minhash", bands=48)) == (48, 5)
    assert bands_of(Near(candidates="minhash", rows=4)) == (60, 4)


def test_minhash_estimates_similarity_within_its_error():
    draw = random.Random(5)
    errors = []
    for _ in range(40):
        shared = [f"s{draw.random()}" for _ in range(100)]
        texts = [" ".join(shared + [f"u{draw.random()}" for _ in range(100)]).replace(".", "") for _ in range(2)]
        values = signatures(shingles(texts, 1), (0, 2), 0, 240)
        errors.append(float((values[0] == values[1]).mean()) - 1 / 3)
    # a standard error of sqrt(J (1 - J) / 240) = .03, of the mean of 40 a sixth of that
    assert abs(np.mean(errors)) < 0.015 and 0.02 < np.std(errors) < 0.045


def test_equal_texts_always_share_every_band():
    texts = ["one two three four five six seven", "One, two; three four five six seven!", "short one", "short, one", "", "  ", "?"]
    found = duplicates(texts, Near(candidates="minhash"))
    assert found.first.tolist() == [0, 0, 2, 2, 4, 4, 6]
    hashes = shingles(texts[:2], 5)
    assert [bucket.member.tolist() for bucket in by_bands(hashes, 24, 10)] == [[0, 1]] * 24


def test_prefix_buckets_hold_every_pair_that_can_reach_the_threshold():
    texts = corpus(6, 120, words=12)
    for threshold in (0.5, 0.55, 0.7):
        sets = Sets.of(shingles(texts, 2))
        buckets = by_prefix(sets, threshold)
        together = {
            tuple(sorted(pair)) for b in set(buckets.bucket) for pair in itertools.combinations(buckets.member[buckets.bucket == b], 2)
        }
        words = [shingle_set(text, 2) for text in texts]
        near = {p for p in itertools.combinations(range(len(texts)), 2) if jaccard(words[p[0]], words[p[1]]) >= threshold}
        assert near and near <= together


def test_a_giant_bucket_is_cut_off_and_counted():
    # all share the rare words of one sentence, none is near another
    texts = [f"the common words of all prompts {' '.join(f'q{i}x{j}' for j in range(5))}" for i in range(60)]
    sets = Sets.of(shingles(texts, 1))
    buckets = by_prefix(sets, 0.3)
    sizes = np.bincount(buckets.bucket)
    assert sizes.max() == 60
    whole, short = Join(60, 0.6, 1000), Join(60, 0.6, 10)
    whole.add(buckets, sets)
    short.add(buckets, sets)
    assert whole.skipped == 0 and whole.compared >= 60 * 59 // 2
    # of a bucket of m those pairs are left out that are 11 to m - 1 places apart
    assert short.skipped == sum((m - 11) * (m - 10) // 2 for m in sizes.tolist() if m > 11)


def test_a_giant_bucket_of_copies_is_no_work():
    texts = [f"template with many words that all of them have in common and a number {i % 3}" for i in range(5000)]
    found = duplicates(texts, Near(threshold=0.7, ngram=3, reach=10))
    assert set(found.first.tolist()) == {0} and found.compared < 20_000 and found.skipped == 0


def test_block_edges_do_not_matter(monkeypatch):
    texts = corpus(8, 300)
    before = duplicates(texts, Near()).first.tolist()
    for size in (1, 7):
        monkeypatch.setattr("engine.prompts.hygiene.shingles.BLOCK", size)
        monkeypatch.setattr("engine.prompts.hygiene.shingles.CHUNK", 13)
        monkeypatch.setattr("engine.prompts.hygiene.shingles.PAIR_ITEMS", 50)
        assert duplicates(texts, Near()).first.tolist() == before


def test_nothing_and_one():
    assert duplicates([], Near()).first.tolist() == []
    assert duplicates(["a b c d e f"], Near(candidates="minhash")).first.tolist() == [0]
