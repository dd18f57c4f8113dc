"""When waiting prompts join the running batch: `static` once it is empty, `continuous` as places in it come free.

A row's tokens are the same either way, so `auto` may measure: it runs the first batch static and the next one continuous, and
keeps what gave more tokens a second.
"""

from __future__ import annotations

import time
from typing import Literal

Way = Literal["static", "continuous", "auto"]
WORTH = 4  # batches from which a choice between two is worth its time


class Batching:
    """One step's choice. `way` is what it does now, `found` tokens a second of each way that was measured."""

    def __init__(self, way: Way) -> None:
        self.way: Literal["static", "continuous"] = "continuous" if way == "continuous" else "static"
        self.found: dict[str, float] = {}
        self._open = way == "auto"  # whether it still has to choose
        self._trying = False
        self._begun: float | None = None
        self._tokens = self._left = 0  # tokens drawn while measuring, answers that still have to end
        self._ended = self._lengths = 0  # answers that have ended, and their tokens

    def begins(self, answers: int, size: int) -> None:
        """So many answers are asked, `size` run together: whether they are enough to choose by. Too few go continuously, which was
        at most a tenth slower where it was measured, and up to a quarter faster."""
        self._begun = None
        self._trying = self._open and answers >= WORTH * size
        if self._open:
            self.way = "static" if self._trying else "continuous"

    def due(self, live: int, rows: int, waiting: bool) -> bool:
        """Whether prompts should join now, given the live rows among all rows.

        A prompt's pass costs about as much for few prompts as for some, a free place costs its share of every step until it is
        filled: with answers of n tokens the sum is least near rows * sqrt(2 / n) free places, and flat around it.
        """
        if not waiting or live == 0 or self.way == "static":
            return waiting and live == 0
        return (rows - live) ** 2 * max(1, self._lengths) >= rows**2 * max(1, self._ended)

    def joins(self, answers: int, waiting: bool, empty: bool) -> None:
        """So many answers join, to an `empty` batch or a running one, and perhaps more are `waiting`."""
        if self._trying and empty and waiting and self._begun is None:
            self._begun, self._tokens, self._left = time.perf_counter(), 0, answers

    def drew(self, tokens: int, lengths: list[int], live: int) -> None:
        """`tokens` were drawn, answers of these `lengths` ended, and `live` are left."""
        self._lengths += sum(lengths)
        self._ended += len(lengths)
        self._tokens += tokens
        self._left -= len(lengths)
        if self._begun is None or self._left > 0:
            return
        self.found[self.way] = self._tokens / (time.perf_counter() - self._begun)
        self._begun = None
        if self.way == "continuous":
            self._trying = self._open = False
            self.way = "continuous" if self.found["continuous"] >= self.found["static"] else "static"
        else:
            self.way = "continuous"

    def interrupted(self) -> None:
        """What was being measured does not count: the batch began anew."""
        self._begun = None
