"""Connections to one server."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

CONNECT = 10.0  # seconds


class Connections:
    """A connection for each try that is on its way, kept for later ones.

    Clients of httpx with one connection each: a pool looks through all of its connections at every request, which at 32 of them
    took three quarters of the time.
    """

    def __init__(self, key: str) -> None:
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._free: list[httpx.AsyncClient] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Connections:
        import httpx

        self._context = httpx.create_ssl_context()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def take(self) -> httpx.AsyncClient:
        """One that nobody uses."""
        import httpx

        if self._free:
            return self._free.pop()
        # a try's time limit is that of asyncio: httpx counts each read anew, and a server that dribbles would never end
        timeout, limits = httpx.Timeout(None, connect=CONNECT), httpx.Limits(max_connections=1, max_keepalive_connections=1)
        made = httpx.AsyncClient(headers=self._headers, limits=limits, timeout=timeout, verify=self._context)
        return await self._stack.enter_async_context(made)

    def give(self, http: httpx.AsyncClient) -> None:
        """For the next try."""
        self._free.append(http)
