"""Labels as a graph: similar labels share what is known about them. The propagation of MIG (see engine.select.pickers.mig)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.errors import StepError
from engine.select.vectors import ROWS, Units

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BLOCK = 256  # labels whose cosines to all others are held at a time


def similar(vectors: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of rows of (n, d) with cosine >= `threshold`: (i, j, cosine) with i < j, in order of i and j.

    Found in float32; what is near the threshold, and every cosine that is given back, is computed in float64 to 12 decimals.
    """
    units = Units(vectors)
    narrow = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, len(vectors), ROWS):
        narrow[start : start + ROWS] = units.rows(slice(start, start + ROWS))
    left, right, cosines = [], [], []
    for start in range(0, len(narrow), BLOCK):
        near = narrow[start : start + BLOCK] @ narrow[start:].T >= threshold - units.noise
        i, j = np.nonzero(np.triu(near, 1))
        for s in range(0, len(i), ROWS):
            one, other = i[s : s + ROWS] + start, j[s : s + ROWS] + start
            cosine = np.round((units.rows(one) * units.rows(other)).sum(axis=1), 12)
            keep = cosine >= threshold
            left.append(one[keep])
            right.append(other[keep])
            cosines.append(cosine[keep])
    empty = np.zeros(0, dtype=np.int64)
    return np.concatenate([empty, *left]), np.concatenate([empty, *right]), np.concatenate([empty.astype(np.float64), *cosines])


def propagation(n: int, pairs: tuple[np.ndarray, np.ndarray, np.ndarray], weight: float, normalize: Literal["column", "row"]) -> csr_matrix:
    """P (n, n): 1 on the diagonal, `weight` times the cosine for each pair (both ways), columns (or rows) scaled to sum 1."""
    from scipy.sparse import csr_matrix

    i, j, cosine = pairs
    own, value = np.arange(n), weight * cosine
    w = csr_matrix((np.r_[np.ones(n), value, value], (np.r_[own, i, j], np.r_[own, j, i])), shape=(n, n))
    w.sum_duplicates()
    sums = np.bincount(w.indices if normalize == "column" else np.repeat(own, np.diff(w.indptr)), weights=w.data, minlength=n)
    w.data /= sums[w.indices] if normalize == "column" else np.repeat(sums, np.diff(w.indptr))
    w.eliminate_zeros()
    return w


def labelled(codes: np.ndarray, offsets: np.ndarray, labels: int, scores: np.ndarray, norm: bool) -> csr_matrix:
    """V (rows, labels): the row's score at each of its labels, counted once each; `norm`: divided by their number.

    `codes`: labels by number, those of row r from offsets[r] to offsets[r + 1]; `scores` (rows,), none negative.
    """
    from scipy.sparse import csr_matrix

    if (scores < 0).any():
        raise StepError(f"label graph: expected scores from 0 up, found {scores.min()}")
    n = len(scores)
    # a copy: equal labels of a row are merged in place
    found = csr_matrix((np.ones(len(codes)), np.array(codes, dtype=np.int32), offsets), shape=(n, labels))
    found.sum_duplicates()
    counts = np.diff(found.indptr)
    share = scores / np.maximum(counts, 1) if norm else scores
    found.data = np.repeat(share, counts)
    return found
