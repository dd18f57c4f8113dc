"""How many requests may be in flight: fewer when the server is overloaded, slowly more while it is not.

Additive increase, multiplicative decrease (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion
Avoidance in Computer Networks", 1989): a window of good replies adds one place, an overload halves the places. Of the requests
that were in flight together only the first overload counts, as in TCP.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Window:
    """`async with window:` waits for a place. One event loop, no threads."""

    def __init__(self, most: int) -> None:
        self.most, self.limit, self.busy = most, float(most), 0
        self._cut = self._until = 0.0
        self._freed = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._freed:
            await self._freed.wait_for(lambda: self.busy < int(self.limit))
            self.busy += 1
        try:
            while (left := self._until - self.now()) > 0:
                await asyncio.sleep(left)
        except BaseException:
            self.busy -= 1
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.busy -= 1
        async with self._freed:
            self._freed.notify_all()

    @staticmethod
    def now() -> float:
        """Seconds on the loop's clock."""
        return asyncio.get_running_loop().time()

    def good(self) -> None:
        """A reply came."""
        self.limit = min(float(self.most), self.limit + 1 / self.limit)

    def overloaded(self, began: float, pause: float = 0.0) -> None:
        """A try that began at `began` was too much; new requests wait for `pause` seconds."""
        if began >= self._cut:
            self.limit, self._cut = max(1.0, self.limit / 2), self.now()
        self._until = max(self._until, self.now() + pause)
