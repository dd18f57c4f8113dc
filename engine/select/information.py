"""Greedy maximisation of a concave function of label sums: rows that add most to what is least known. For the picker `mig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.select.ties import rounded

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FRONT = 1024  # rows that are looked at in every pick
MARGIN = 1e-7  # far more than `rounded` moves a gain
SHORT = 16  # picks from one front below which the next one is twice as large


@dataclass(frozen=True)
class Phi:
    """How much is known at a label whose sum is x: (x + a) ** b (`pow`) or 1 - exp(-alpha x) (`exp`)."""

    kind: Literal["pow", "exp"] = "pow"
    a: float = 1e-6
    b: float = 0.8
    alpha: float = 1.0

    def slope(self, x: np.ndarray) -> np.ndarray:
        """Its derivative, elementwise."""
        if self.kind == "exp":
            return self.alpha * np.exp(-self.alpha * x)
        return self.b * (x + self.a) ** (self.b - 1)

    def rise(self, x: np.ndarray, more: np.ndarray) -> np.ndarray:
        """phi(x + more) - phi(x), elementwise, without the loss of digits that the difference has."""
        if self.kind == "exp":
            return np.exp(-self.alpha * x) * -np.expm1(-self.alpha * more)
        return (x + self.a) ** self.b * np.expm1(self.b * np.log1p(more / (x + self.a)))


class Known:
    """The sum of every label (labels,) over the rows picked so far."""

    def __init__(self, labels: int, phi: Phi, gain: Literal["gradient", "exact"]) -> None:
        self.phi, self.gain = phi, gain
        self.sums = np.zeros(labels)
        self.slopes = phi.slope(self.sums)

    def gains(self, u: csr_matrix) -> np.ndarray:
        """What each row of u (rows, labels) would add, rounded; added label by label, so it does not depend on other rows."""
        if self.gain == "gradient":
            return rounded(u @ self.slopes)
        from scipy.sparse import csr_matrix

        rises = self.phi.rise(self.sums[u.indices], u.data)
        return rounded(csr_matrix((rises, u.indices, u.indptr), shape=u.shape) @ np.ones(u.shape[1]))

    def add(self, labels: np.ndarray, values: np.ndarray) -> None:
        """Takes a row in: its labels and their values, both (labels of the row,)."""
        self.sums[labels] += values
        self.slopes[labels] = self.phi.slope(self.sums[labels])


def greedy(u: csr_matrix, known: Known, budget: int, front: int = FRONT) -> tuple[list[int], list[float]]:
    """Rows of u (rows, labels; none negative) in the order of picking, and the gain of each: every pick is the row that adds most
    to `known`, ties to the smaller row.

    Lazy: gains only fall, so while the best of the front (the rows with the largest gains when all rows were last looked at) is
    above every other row's gain at that time, the others need no look. `front` changes the time taken and nothing else.
    """
    picked: list[int] = []
    gained: list[float] = []
    open_ = np.ones(u.shape[0], dtype=bool)
    while len(picked) < min(budget, u.shape[0]):
        rows, bound = _front(np.where(open_, known.gains(u), -np.inf), front)
        part, done = u[rows], 0
        live = open_[rows]
        while len(picked) < budget:
            gains = np.where(live, known.gains(part), -np.inf)
            best = int(np.argmax(gains))
            # right after all rows were looked at the best of the front is the best of all
            if not gains[best] > (bound + MARGIN * abs(bound) if done and np.isfinite(bound) else -np.inf):
                break
            live[best] = open_[rows[best]] = False
            picked.append(int(rows[best]))
            gained.append(float(gains[best]))
            own = slice(part.indptr[best], part.indptr[best + 1])
            known.add(part.indices[own], part.data[own])
            done += 1
        front = 2 * front if done < SHORT else front
    return picked, gained


def _front(gains: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """At least `size` rows with the largest gains, in order, ties all in or all out; and the largest gain of the others."""
    if size >= len(gains):
        return np.arange(len(gains)), -np.inf
    last = np.partition(gains, len(gains) - size)[len(gains) - size]
    inside = gains >= (last - MARGIN * abs(last) if np.isfinite(last) else last)
    return np.flatnonzero(inside), float(np.max(gains, where=~inside, initial=-np.inf))
