"""The answers that nobody has begun yet, in the order in which they begin."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.generate.decoding.running import Question


class Share(NamedTuple):
    """Samples of one question that begin together: question number, first sample, how many."""

    question: int
    first: int
    samples: int


class Waiting:
    """A queue of the questions' answers."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._queue = deque(Share(number, 0, len(question.keys)) for number, question in enumerate(questions) if len(question.keys))

    def __bool__(self) -> bool:
        return bool(self._queue)

    def take(self, places: int, empty: bool) -> list[Share]:
        """Those who take `places`: whole questions in order while they fit; where not even one fits in an `empty` batch, as many of
        its samples as do."""
        taken: list[Share] = []
        while self._queue and self._queue[0].samples <= places:
            taken.append(self._queue.popleft())
            places -= taken[-1].samples
        if not taken and empty:
            number, first, count = self._queue.popleft()
            self._queue.appendleft(Share(number, first + places, count - places))
            taken.append(Share(number, first, places))
        return taken

    def back(self, begun: Iterable[tuple[int, int]]) -> None:
        """(question, sample) of answers that must begin again, before all others."""
        shares: list[Share] = []
        for number, sample in sorted(begun):
            if shares and shares[-1].question == number and shares[-1].first + shares[-1].samples == sample:
                shares[-1] = shares[-1]._replace(samples=shares[-1].samples + 1)
            else:
                shares.append(Share(number, sample, 1))
        self._queue.extendleft(reversed(shares))
