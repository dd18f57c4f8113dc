"""The most similar of many texts or vectors, for each of some: n-gram sets by Jaccard similarity, vectors by cosine. Exact.

Both look at every pair that shares anything, a block of rows at a time. `groups` keep apart what must not be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.prompts.hygiene.shingles import Hashes, shingles
from engine.prompts.hygiene.texts import mixed

BLOCK = 128  # rows that are compared at a time
DECIMALS = 5  # a cosine in float32, once the noise of the order of adding is rounded off


class Nearest(NamedTuple):
    """For each row the largest similarity, and the place of the first item that has it; place -1: there is nothing to compare with."""

    similarity: np.ndarray
    place: np.ndarray


def by_ngrams(texts: Sequence[str], others: Sequence[str], n: int, groups: np.ndarray, other_groups: np.ndarray) -> Nearest:
    """By Jaccard similarity of sets of word n-grams (lower case, without punctuation; a text of fewer words is one of all it has).

    `groups`, `other_groups`: int64, one a text; only texts of one group are compared.
    """
    from scipy import sparse

    keys, starts = _keys(shingles([*texts, *others], n), np.concatenate([groups, other_groups]))
    known, numbers = np.unique(keys, return_inverse=True)
    ones = np.ones(len(numbers), np.int32)
    whole = sparse.csr_matrix((ones, numbers.astype(np.int32), starts), shape=(len(starts) - 1, len(known)))
    sizes = np.diff(starts).astype(np.float64)
    rows, columns = whole[: len(texts)], whole[len(texts) :].T.tocsr()
    similarity, place = np.zeros(len(texts)), _first(groups, other_groups)
    for start in range(0, len(texts), BLOCK):
        shared = (rows[start : start + BLOCK] @ columns).tocsr()
        lengths = np.diff(shared.indptr)
        full = np.flatnonzero(lengths)
        if not len(full):
            continue
        row = np.repeat(np.arange(start, start + len(lengths)), lengths)
        value = shared.data / (sizes[row] + sizes[len(texts) + shared.indices] - shared.data)
        best = np.maximum.reduceat(value, shared.indptr[full])
        ties = np.where(value == np.repeat(best, lengths[full]), shared.indices, len(others))
        similarity[start + full], place[start + full] = best, np.minimum.reduceat(ties, shared.indptr[full])
    return Nearest(similarity, place)


def by_cosine(vectors: np.ndarray, others: np.ndarray, groups: np.ndarray, other_groups: np.ndarray) -> Nearest:
    """By cosine of vectors of length 1, float (n, d), to 5 decimals; groups as of `by_ngrams`. 0 where there is none."""
    similarity, place = np.zeros(len(vectors)), np.full(len(vectors), -1, np.int64)
    for group in np.unique(groups):
        mine, theirs = np.flatnonzero(groups == group), np.flatnonzero(other_groups == group)
        if not len(theirs):
            continue
        columns = others[theirs].astype(np.float32).T
        for start in range(0, len(mine), BLOCK):
            some = mine[start : start + BLOCK]
            found = np.round(vectors[some].astype(np.float32) @ columns, DECIMALS)
            best = found.argmax(axis=1)
            similarity[some], place[some] = found[np.arange(len(some)), best], theirs[best]
    return Nearest(np.round(similarity, DECIMALS), place)


def _keys(found: Hashes, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shingles as numbers that differ between groups, and where those of each text start."""
    keys = found.high.astype(np.uint64) << np.uint64(16) | found.low.astype(np.uint64)
    own = mixed(groups.astype(np.uint64) + np.uint64(1))
    return mixed(keys ^ np.repeat(own, np.diff(found.starts))), found.starts


def _first(groups: np.ndarray, other_groups: np.ndarray) -> np.ndarray:
    """The first item of each row's group, -1 where the group has none."""
    known, where = np.unique(other_groups, return_index=True)
    if not len(known):
        return np.full(len(groups), -1, np.int64)
    at = np.clip(np.searchsorted(known, groups), 0, len(known) - 1)
    return np.where(known[at] == groups, where[at], -1).astype(np.int64)
