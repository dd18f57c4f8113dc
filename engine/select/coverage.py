"""How well candidates are covered by the rows picked so far, and which row would cover most more. For `facility_location`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine.select.ties import STEP, fixed
from engine.select.vectors import ROWS, Units

PART = 256  # rows that are widened to float64 at a time: they stay in the processor's cache
FIRST, MOST = 32, 128  # rows whose gains are computed together: few at first, more while none of them is the best


class Covered:
    """The largest cosine of each row to a picked row, -1 before the first; gains are exact sums of rounded cosines.

    `bounds` (n,) are never below a row's gain; `fresh` says for which rows they are the gain.
    """

    def __init__(self, units: Units) -> None:
        self.units, n = units, len(units)
        self.cover = np.full(n, -1.0)
        total = np.zeros(units.vectors.shape[1])
        for start in range(0, n, ROWS):
            total += units.rows(slice(start, start + ROWS)).sum(axis=0)
        # before the first pick a row's gain is the sum of its cosines + 1: known without any cosine, but for rounding
        sums = [units.rows(slice(start, start + ROWS)) @ total for start in range(0, n, ROWS)]
        self.bounds = np.concatenate([*sums, np.zeros(0)]) + n * (1 + 2 * STEP)
        self.fresh = np.zeros(n, dtype=bool)

    def best(self, among: np.ndarray, weight: float, bonus: np.ndarray) -> int:
        """The row of `among` (n,) with the largest weight * gain + bonus, ties to the smaller row; `weight` is not negative."""
        size = FIRST
        while True:
            values = np.where(among, weight * self.bounds + bonus, -np.inf)
            row = int(np.argmax(values))
            if self.fresh[row]:
                return row
            values[self.fresh] = -np.inf
            size = min(size, len(values))
            some = np.argpartition(-values, size - 1)[:size]
            # with equal values the smaller rows, which may be left out by the partition, decide: the best is always in
            self._look(np.unique(np.r_[some[np.isfinite(values[some])], row]))
            size = min(2 * size, MOST)

    def add(self, row: int) -> float:
        """Picks a row, and returns its gain."""
        rows = np.array([row])
        if not self.fresh[row]:
            self._look(rows)
        for part, cosines in self._cosines(rows):
            np.maximum(self.cover[part], cosines[0], out=self.cover[part])
        self.fresh[:] = False
        return float(self.bounds[row])

    def _look(self, rows: np.ndarray) -> None:
        """Computes the gains of rows."""
        gains = np.zeros(len(rows))
        for part, cosines in self._cosines(rows):
            cosines -= self.cover[part]
            gains += np.maximum(cosines, 0.0, out=cosines).sum(axis=1)
        self.bounds[rows], self.fresh[rows] = gains, True

    def _cosines(self, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Cosines of rows to all rows, part by part: (rows, part)."""
        wanted = self.units.rows(rows)
        for start in range(0, len(self.units), PART):
            part = slice(start, start + PART)
            yield part, fixed(wanted @ self.units.rows(part).T)
