"""SemDeDup: of vectors in a cluster that are nearly alike, one stays.

Source: Abbas et al., "SemDeDup: Data-efficient learning at web-scale through semantic deduplication", arXiv 2303.09540, and
github.com/facebookresearch/SemDeDup. As in both, a row is compared with every row before it, also with one that is dropped
itself: a chain of neighbours shrinks to its first. Unlike the repository, vectors are normalised here, which its comparison
takes for granted.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from engine.errors import StepError
from engine.randomness import uniforms

Keep = Literal["hard", "easy", "random"]
BLOCK = 2048  # rows whose similarities to the rows before them are held at a time


def semdedup(
    vectors: np.ndarray, assignment: np.ndarray, distances: np.ndarray, eps: float, keep: Keep, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(drop bool, twin int64, similarity float64), each (n,), of vectors (n, d) in clusters `assignment` (n,).

    Rows of a cluster stand in the order of `distances` to the centroid, descending for keep `hard` (what is far stays),
    ascending for `easy`, by draws of `keys` (uint64, one a row) for `random`; ties by row number. `similarity` of a row is the
    largest cosine to a row before it in its cluster, at least 0 (0 for the first); `twin` is that row, -1 where there is
    none; a row with similarity > 1 - eps is dropped. StepError where lengths differ.
    """
    n = len(vectors)
    if not len(assignment) == len(distances) == len(keys) == n:
        raise StepError(f"semdedup: {n} vectors, {len(assignment)} clusters, {len(distances)} distances, {len(keys)} keys")
    twin, similarity = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.float64)
    rank = {"hard": lambda: -np.asarray(distances, np.float64), "easy": lambda: distances, "random": lambda: uniforms(keys, 0)}[keep]()
    order = np.lexsort((np.arange(n), rank, assignment))
    for rows in np.split(order, np.flatnonzero(np.diff(assignment[order])) + 1):
        if len(rows) > 1:
            twin[rows], similarity[rows] = _nearest_before(vectors[rows], rows)
    return similarity > 1 - eps, twin, similarity


def _nearest_before(vectors: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most similar earlier vector of each, as its number in `rows`, and the similarity; in float64, so that the bits that
    decide do not hang on how a product is shared out."""
    units = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", units, units))
    units /= np.where(lengths > 0, lengths, 1)[:, None]
    best, value = np.full(len(units), -1, dtype=np.int64), np.zeros(len(units))
    for start in range(0, len(units), BLOCK):
        block = units[start : start + BLOCK]
        found = block @ units[: start + len(block)].T
        np.round(found, 12, out=found)  # equal vectors then are equally similar, and the earliest is the twin
        own = np.arange(start, start + len(block))
        found[np.arange(found.shape[1])[None, :] >= own[:, None]] = -np.inf
        place = np.argmax(found, axis=1)
        top = found[np.arange(len(block)), place]
        alike = top > 0
        best[own[alike]], value[own[alike]] = rows[place[alike]], top[alike]
    return best, value
