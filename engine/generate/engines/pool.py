"""The processes that answer together: requests go to whichever has least to do, and those of one that dies to the others."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import StepError
from engine.generate.engines.child import PATIENCE, Child, News, last_lines
from engine.generate.engines.hints import hint

LOOK = 0.5  # seconds between two looks at processes that say nothing
HASTE = 1.0  # seconds that a process which has not started gets to end


class Order(NamedTuple):
    """Answers to one prompt: its token ids, arguments of vLLM's sampler, and of each answer what it is called here and its seed.

    `lora`: (name, number, folder) of an adapter; `each`: whether the log-probability of each token is told.
    """

    prompt: Sequence[int]
    how: Mapping[str, Any]
    answers: Sequence[tuple[int, int | None]]
    lora: tuple[str, int, str] | None = None
    each: bool = False


class Drawn(NamedTuple):
    """One answer: what it is called, its tokens (the end token included), vLLM's reason for its end, and nats."""

    answer: int
    tokens: list[int]
    reason: str | None
    logprob: float
    logprobs: list[float] | None


class Refused(Exception):
    """The engine does not take a request. `answer` is what it is called here."""

    def __init__(self, answer: int, words: str) -> None:
        self.answer, self.words = answer, words
        super().__init__(words)


@dataclass(frozen=True)
class Launch:
    """How the processes start: under which Python, with which arguments of vLLM's, one for each of `environments`.

    `window`: most answers that one process is asked for at a time; `start_timeout` and `stall_timeout`: seconds without a word after
    which a process counts as dead.
    """

    python: str
    arguments: dict[str, Any]
    environments: tuple[dict[str, str], ...]
    log: Path
    window: int = 512
    start_timeout: float = 900.0
    stall_timeout: float = 600.0


@dataclass
class _Place:
    """A process, and what it has been asked for: the answer and its order by the number that it knows."""

    child: Child
    asked: dict[int, tuple[Order, tuple[int, int | None]]] = field(default_factory=dict)


class Pool:
    """Started processes. StepError where one cannot start; `ready` is what the first said then."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._places: list[_Place] = []
        self._numbers = count()
        began = time.monotonic()
        try:
            for number in range(len(launch.environments)):
                self._log(number).unlink(missing_ok=True)
                self._places.append(_Place(self._started(number)))
            said = [self._wait(place.child) for place in self._places]
        except BaseException:
            self.close(HASTE)
            raise
        self.ready, self.seconds = said[0], time.monotonic() - began

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return bool(self._places) and not any(place.child.ended() for place in self._places)

    @property
    def pids(self) -> list[int]:
        """The processes' ids."""
        return [place.child.pid for place in self._places]

    def close(self, patience: float = PATIENCE) -> None:
        """Ends the processes, each as `Child.close` does; may be called twice."""
        places, self._places = self._places, []
        for place in places:
            place.child.send({"end": True})  # all at once, then wait for each
        for place in places:
            place.child.close(patience)

    def run(self, orders: Iterable[Order], died: Callable[[str], None]) -> Iterator[list[Drawn]]:
        """The answers, some at a time as they finish. What a process that died was asked for is asked again, of another one in its
        place, once `died` has been told why; it may raise. Refused for a request that vLLM does not take.

        Left half way, the processes end: they would go on with what nobody waits for.
        """
        waiting = deque(orders)
        try:
            while waiting or any(place.asked for place in self._places):
                self._hand_out(waiting)
                if drawn := self._hear():
                    yield drawn
                for number, place in enumerate(self._places):
                    if (why := self._trouble(place)) is None:
                        continue
                    if drawn := self._bury(place, waiting):
                        yield drawn
                    died(why)
                    place.child = self._started(number)
                    drawn = []
                    self._wait(place.child, drawn)
                    if drawn:
                        yield drawn
        finally:
            if any(place.asked for place in self._places):
                self.close()

    def _hand_out(self, waiting: deque[Order]) -> None:
        while waiting:
            place = min(self._places, key=lambda place: len(place.asked))
            if len(place.asked) >= self.launch.window:
                return
            order = waiting.popleft()
            if not place.asked:
                place.child.heard = time.monotonic()  # it had no reason to say anything until now
            numbered = {next(self._numbers): answer for answer in order.answers}
            place.asked |= {number: (order, answer) for number, answer in numbered.items()}
            place.child.send(order._asdict() | {"answers": [[number, seed] for number, (_, seed) in numbered.items()]})

    def _hear(self) -> list[Drawn]:
        """What has been answered since; waits a little for it."""
        drawn: list[Drawn] = []
        try:
            self._take(self._news.get(timeout=LOOK), drawn)
            while True:
                self._take(self._news.get_nowait(), drawn)
        except queue.Empty:
            return drawn

    def _take(self, news: News, drawn: list[Drawn]) -> None:
        place = next((place for place in self._places if place.child is news.child), None)
        if place is None or news.said is None:  # of a process that is no more; or it has ended, which `_trouble` sees
            return
        if "refused" in news.said:
            _, (answer, _) = place.asked.pop(news.said["refused"])
            raise Refused(answer, news.said["words"])
        for number, *rest in news.said.get("done", ()):
            _, (answer, _) = place.asked.pop(number)
            drawn.append(Drawn(answer, *rest))

    def _trouble(self, place: _Place) -> str | None:
        """What is wrong with a process; None: nothing."""
        if place.child.ended():
            return place.child.why()
        silent = time.monotonic() - place.child.heard
        if place.asked and silent > self.launch.stall_timeout:
            return f"process {place.child.pid} said nothing for {silent:.0f} s; its last lines:\n{last_lines(place.child.log)}"
        return None

    def _bury(self, place: _Place, waiting: deque[Order]) -> list[Drawn]:
        """Ends a process and puts what it was asked for back in front; what it still said is heard."""
        place.child.close(patience=0.0)
        drawn: list[Drawn] = []
        while not self._news.empty():
            self._take(self._news.get(), drawn)
        left: dict[int, tuple[Order, list[tuple[int, int | None]]]] = {}
        for order, answer in place.asked.values():
            left.setdefault(id(order), (order, []))[1].append(answer)
        waiting.extendleft(order._replace(answers=answers) for order, answers in reversed(left.values()))
        place.asked.clear()
        return drawn

    def _log(self, number: int) -> Path:
        return self.launch.log.with_name(f"{self.launch.log.stem}-{number}.log")

    def _started(self, number: int) -> Child:
        child = Child(self.launch.python, self.launch.environments[number], self._log(number), self._news)
        child.send({"start": self.launch.arguments})
        return child

    def _wait(self, child: Child, drawn: list[Drawn] | None = None) -> dict[str, Any]:
        """What a new process says when it is ready; what others say in the meantime goes to `drawn`."""
        deadline = time.monotonic() + self.launch.start_timeout
        kept: list[News] = []
        try:
            while True:
                if child.ended():
                    text = f"an engine could not start: {child.why()}"
                    raise StepError(text, where=str(child.log), hint=hint(last_lines(child.log, 80)))
                if time.monotonic() > deadline:
                    text = f"an engine was not ready after {self.launch.start_timeout:.0f} s; its last lines:\n{last_lines(child.log)}"
                    raise StepError(text, where=str(child.log), hint="raise params.start_timeout, or look at its log")
                try:
                    news = self._news.get(timeout=LOOK)
                except queue.Empty:
                    continue
                if news.child is child and news.said is not None and "ready" in news.said:
                    return news.said["ready"]
                if drawn is None:
                    kept.append(news)
                else:
                    self._take(news, drawn)
        finally:
            for news in kept:
                self._news.put(news)
