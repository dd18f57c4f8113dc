"""How many requests may be in flight: fewer while the server is overloaded, slowly more while it is not.

Additive increase, multiplicative decrease (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms for Congestion
Avoidance in Computer Networks", 1989): a window of good replies adds one place, an overload halves the places. What counts as an
overload are failures that outnumber what good replies make up for (a leaky bucket), since servers also fail now and then without
being full: were each failure a reason to halve, as a lost packet is in TCP, one failure in ten would leave about four places
however many the server takes (Mathis et al., "The Macroscopic Behavior of the TCP Congestion Avoidance Algorithm", 1997).
"""

from __future__ import annotations

import asyncio

LEAK = 0.25  # of a failure that a good reply makes up for: up to a fifth of the tries may fail without fewer places
FULL = 6.0  # failures too many that are an overload


class Window:
    """Places for tries; who tries again goes before who begins. One event loop, no threads."""

    def __init__(self, most: int) -> None:
        self.most, self.limit, self.busy = most, float(most), 0
        self._failures = self._cut = self._until = 0.0
        self._again = 0
        self._freed = asyncio.Condition()

    async def enter(self, again: bool = False) -> None:
        """Waits for a place, and for the end of a pause that the server has asked for."""
        async with self._freed:
            self._again += again
            try:
                await self._freed.wait_for(lambda: self.busy < int(self.limit) and (again or not self._again))
                self.busy += 1
            finally:
                self._again -= again
                if again:
                    self._freed.notify_all()  # who begins may have waited for this one alone
        try:
            while (left := self._until - self.now()) > 0:
                await asyncio.sleep(left)
        except BaseException:
            self.busy -= 1
            raise

    async def leave(self) -> None:
        """Gives a place back."""
        self.busy -= 1
        async with self._freed:
            self._freed.notify_all()

    @staticmethod
    def now() -> float:
        """Seconds on the loop's clock."""
        return asyncio.get_running_loop().time()

    def good(self) -> None:
        """A reply came."""
        self._failures = max(0.0, self._failures - LEAK)
        self.limit = min(float(self.most), self.limit + 1 / self.limit)

    def failed(self, began: float, pause: float = 0.0) -> None:
        """A try that began at `began` failed, and its server asks for `pause` seconds, which all wait once it is an overload.

        Of the tries that were in flight together only the first overload halves the places, as in TCP.
        """
        if began >= self._cut:
            self._failures += 1
            if self._failures < FULL:
                return
            self.limit, self._failures, self._cut = max(1.0, self.limit / 2), 0.0, self.now()
        self._until = max(self._until, self.now() + pause)
