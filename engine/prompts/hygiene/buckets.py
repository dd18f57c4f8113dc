"""Which sets of shingles are worth a comparison: buckets whose members may be similar, by rare shingles or by MinHash bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.prompts.hygiene.shingles import Hashes, Sets, seeds
from engine.prompts.hygiene.texts import mixed

SLACK = 1e-9  # a product of doubles may lie above the whole number that it means


@dataclass(frozen=True)
class Buckets:
    """Members of buckets, bucket after bucket and ascending within: `bucket` and `member`, equally long. A bucket has two or more."""

    bucket: np.ndarray
    member: np.ndarray


def by_prefix(sets: Sets, threshold: float) -> Buckets:
    """Buckets that any two sets with Jaccard similarity `threshold` or more share, by necessity.

    Two such sets share a shingle among the |s| - ceil(threshold |s|) + 1 rarest of each, if all sets order shingles alike.
    Source: Bayardo, Ma, Srikant, "Scaling Up All Pairs Similarity Search", WWW 2007; Xiao et al., "Efficient Similarity Joins for
    Near Duplicate Detection", WWW 2008.
    """
    kept = np.diff(sets.starts)
    prefix = sets.sizes - np.ceil(threshold * sets.sizes - SLACK).astype(np.int64) + 1
    # shingles of one set alone are the rarest and fill the prefix first
    length = np.clip(prefix - (sets.sizes - kept), 0, kept)
    member = np.repeat(np.arange(len(length), dtype=np.int32), length)
    place = np.arange(len(member)) + np.repeat(sets.starts[:-1] - np.cumsum(length) + length, length)
    items = sets.items[place]
    shared = np.bincount(items)[items] > 1
    keys = np.sort(items[shared].astype(np.int64) << 32 | member[shared])
    return Buckets((keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32))


def optimal_bands(threshold: float, permutations: int) -> tuple[int, int]:
    """(bands, rows) that make 0.5 * false positives + 0.5 * false negatives smallest, as areas under the collision curve.

    Source: github.com/ChenghaoMou/text-dedup and datasketch. Sums over 1,000 steps of similarity; of equally good pairs the one with
    fewer bands.
    """
    steps = (np.arange(1000) + 0.5) / 1000
    below = steps < threshold
    best = (np.inf, 0, 0)
    for bands in range(1, permutations + 1):
        for rows in range(1, permutations // bands + 1):
            collide = collision(steps, bands, rows)
            wrong = 0.5 * (collide[below].sum() + (1 - collide[~below]).sum()) / len(steps)
            best = min(best, (round(float(wrong), 12), bands, rows))
    return best[1], best[2]


def collision(similarity: np.ndarray | float, bands: int, rows: int) -> np.ndarray:
    """Probability that sets of that Jaccard similarity share a bucket: 1 - (1 - s^rows)^bands."""
    return 1 - (1 - np.asarray(similarity, dtype=np.float64) ** rows) ** bands


def signatures(found: Hashes, texts: tuple[int, int], first: int, count: int) -> np.ndarray:
    """MinHash values `first` to `first + count` of the texts from and to: uint32 (texts, count).

    A permutation is x -> a x + b modulo 2^32 with odd a, on the upper 32 bits of a shingle. text-dedup computes modulo 2^61 - 1, so its
    values are others. Every text has a shingle.
    """
    starts = found.starts[texts[0] : texts[1] + 1]
    high = found.high[starts[0] : starts[-1]]
    drawn = (seeds(2 * (first + count))[2 * first :] >> np.uint64(32)).astype(np.uint32)
    made = np.empty((texts[1] - texts[0], count), dtype=np.uint32)
    for index in range(count):
        factor, shift = drawn[2 * index] | np.uint32(1), drawn[2 * index + 1]
        made[:, index] = np.minimum.reduceat(high * factor + shift, starts[:-1] - starts[0])
    return made


def by_bands(found: Hashes, bands: int, rows: int) -> list[Buckets]:
    """The buckets of each band: sets whose `rows` MinHash values of the band are all equal."""
    made = []
    for band in range(bands):
        key = np.zeros(len(found.starts) - 1, dtype=np.uint64)
        for start, end in found.blocks():
            for column in signatures(found, (start, end), band * rows, rows).T:
                key[start:end] = mixed(key[start:end] + column + np.uint64(1))
        made.append(_gathered(key))
    return made


def _gathered(key: np.ndarray) -> Buckets:
    """Sets with equal keys as one bucket each; keys that stand once are left out."""
    order = np.argsort(key, kind="stable").astype(np.int32)
    key = key[order]
    new = np.r_[True, key[1:] != key[:-1]] if len(key) else np.zeros(0, dtype=bool)
    shared = ~(new & np.r_[new[1:], True])
    return Buckets(np.cumsum(new, dtype=np.int32)[shared], order[shared])
