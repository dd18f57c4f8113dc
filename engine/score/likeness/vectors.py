"""How far apart vectors of answers are: cosines between siblings, and the Vendi score."""

from __future__ import annotations

import math

import numpy as np

DECIMALS = 8  # what is left once the noise of the order of adding is rounded off


def unit(vectors: np.ndarray) -> np.ndarray:
    """float64 (n, d): vectors at length 1; a vector of zeros stays one."""
    wide = np.asarray(vectors, np.float64)
    lengths = np.sqrt((wide**2).sum(axis=1, keepdims=True))
    return wide / np.where(lengths > 0, lengths, 1.0)


def apart(vectors: np.ndarray) -> list[float | None]:
    """1 - the mean cosine of each vector with the others (vectors of length 1, shape (n, d)); None for a vector alone."""
    n = len(vectors)
    if n < 2:
        return [None] * n
    own = (vectors**2).sum(axis=1)
    sums = (vectors * vectors.sum(axis=0)).sum(axis=1) - own
    return [round(float(1 - one / (n - 1)), DECIMALS) for one in sums]


def vendi(vectors: np.ndarray, order: float = 1.0) -> float:
    """The Vendi score of vectors of length 1 (n, d): how many different ones there seem to be, from 1 to n.

    Source: Friedman and Dieng, "The Vendi Score", arXiv 2210.02410: the exponential of the entropy of the eigenvalues of K / n with
    the similarities K = X X^T; `order` is that of the entropy (1: Shannon's; infinity: 1 / the largest eigenvalue). Where vectors
    have fewer dimensions than there are of them, X^T X / n has the same eigenvalues but zeros.
    """
    n, width = vectors.shape
    return of_similarities(vectors.T @ vectors if width < n else vectors @ vectors.T, order, n)


def of_similarities(similarities: np.ndarray, order: float = 1.0, n: int | None = None) -> float:
    """The Vendi score of a matrix of similarities with ones on its diagonal; `n` items, if the matrix is not of them."""
    shares = np.clip(np.linalg.eigvalsh(np.asarray(similarities, np.float64) / (n or len(similarities))), 0.0, None)
    shares = shares[shares > 1e-12]
    if not len(shares):  # vectors of zeros alone
        return 1.0
    if math.isinf(order):
        return round(float(1 / shares.max()), DECIMALS)
    if order == 1:
        return round(math.exp(0.0 - math.fsum(shares * np.log(shares))), DECIMALS)
    return round(math.fsum(shares**order) ** (1 / (1 - order)), DECIMALS)
