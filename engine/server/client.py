"""Sends requests to a server and gives replies as they finish, whatever the server does in between.

An event loop in a thread of its own holds the connections; the caller sees a plain iterator. A request that meets 429, 5xx, a
time limit, a dropped connection or a broken body is tried again after an exponential pause with jitter, or after what
`Retry-After` says, until `attempts` or `patience` are used up. It keeps its place in the window meanwhile, so that pauses
take load off the server.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.errors import SpecError
from engine.randomness import row_keys, uniforms
from engine.server import ERROR, TIMEOUT, Failure, Reply, Request, ServerError, ServerParams, Usage
from engine.server.window import Window
from engine.server.wire import PATHS, Refused, Transient, Useless, body, reply

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

LONGEST = 30.0  # seconds of the longest pause that the server has not asked for
CONNECT = 10.0  # seconds


class Client:
    """A server. `usage` counts what it has given so far. SpecError for a URL that is none, or where the key's variable is not set."""

    def __init__(self, params: ServerParams) -> None:
        params.check()
        self.params, self.usage = params, Usage()
        self._key = os.environ.get(params.key_env, "") if params.key_env else ""
        if params.key_env and not self._key:
            raise SpecError(f"server.key_env: the environment variable {params.key_env} is not set", hint="export it, then run again")

    def complete(self, requests: Sequence[Request]) -> Generator[Reply, None, None]:
        """A reply for each request, in the order in which they finish; one that failed for good has a `failure`.

        ServerError where the server takes no request at all. Closing the iterator drops what is in flight.
        """
        if not requests:
            return
        done: queue.SimpleQueue[Reply | BaseException | None] = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._serve(list(requests), done))
        thread = threading.Thread(target=_run, args=(loop, task, done), name="rondo-server", daemon=True)
        thread.start()
        try:
            while (found := done.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                self.usage.add(found)
                yield found
        finally:
            if thread.is_alive() and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)
            thread.join()
            loop.close()

    async def _serve(self, requests: list[Request], done: queue.SimpleQueue[Reply | BaseException | None]) -> None:
        import httpx

        window, todo = Window(self.params.concurrency), iter(requests)
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        # a try's time limit is that of asyncio: httpx counts each read anew, and a server that dribbles would never end
        timeout, context = httpx.Timeout(None, connect=CONNECT), httpx.create_ssl_context()
        # a connection for each worker: a pool looks through all of its connections at every request, which at 32 of them took
        # three quarters of the client's time
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)

        async def work() -> None:
            async with httpx.AsyncClient(headers=headers, limits=limits, timeout=timeout, verify=context) as http:
                while True:
                    async with window:
                        request = next(todo, None)
                        if request is None:
                            return
                        done.put(await self._answer(http, window, request))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.params.concurrency, len(requests))):
                group.create_task(work())

    async def _answer(self, http: httpx.AsyncClient, window: Window, request: Request) -> Reply:
        """The reply to one request, after as many tries as it may have."""
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, stop_before_delay

        began, tries = time.perf_counter(), 0
        jitter = row_keys(os.getpid(), 0, "backoff", [request.key])

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            share = float(uniforms(jitter, state.attempt_number)[0])
            own = min(LONGEST, self.params.backoff * 2.0 ** (state.attempt_number - 1)) * (0.5 + share / 2)
            asked = error.after if isinstance(error, Transient) else 0.0
            return max(own, asked + self.params.backoff * share if asked else 0.0)

        stop = stop_after_attempt(self.params.attempts) | stop_before_delay(self.params.patience)
        try:
            async for attempt in AsyncRetrying(stop=stop, wait=pause, retry=retry_if_exception_type(Transient), reraise=True):
                with attempt:
                    tries += 1
                    found = await self._try(http, window, request)
            return replace(found, attempts=tries, seconds=time.perf_counter() - began)
        except Transient as error:
            asked = f", which asks for {error.after:g} s of patience" if error.after >= self.params.patience else ""
            failure = Failure(error.kind, self._hidden(f"{error.words}{asked} (tried {tries} times)"))
        except Refused as error:
            failure = Failure(ERROR, self._hidden(str(error)))
        except Useless as error:
            hint = "look at server.url, server.model and server.key_env" if self.params.key_env else "does it need a key (server.key_env)?"
            raise ServerError(self._hidden(str(error)), where=f"{self.params.base}{PATHS[self.params.api]}", hint=hint) from None
        return Reply(request.key, attempts=tries, seconds=time.perf_counter() - began, failure=failure)

    async def _try(self, http: httpx.AsyncClient, window: Window, request: Request) -> Reply:
        """One try. Transient where another may end better."""
        import httpx

        began, limit = window.now(), self.params.timeout
        try:
            async with asyncio.timeout(limit):
                response = await http.post(self.params.base + PATHS[self.params.api], json=body(self.params, request))
            found = reply(response, request)
        except (TimeoutError, httpx.TimeoutException) as error:
            window.overloaded(began)
            raise Transient(f"no reply within {limit:g} s", TIMEOUT) from error
        except httpx.RequestError as error:
            window.overloaded(began)
            raise Transient(f"the connection failed: {type(error).__name__}: {error}") from error
        except Transient as error:
            window.overloaded(began, error.after if error.after < self.params.patience else 0.0)
            raise
        window.good()
        return found

    def _hidden(self, text: str) -> str:
        """The text without the key, should the server repeat it."""
        return text.replace(self._key, "***") if self._key else text


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None], done: queue.SimpleQueue[Reply | BaseException | None]) -> None:
    """Runs the loop until the task ends, then says so."""
    try:
        loop.run_until_complete(task)
    except asyncio.CancelledError:
        pass
    except BaseExceptionGroup as group:
        done.put(_first(group))
    except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
        done.put(error)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        done.put(None)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a group of failed tasks is about."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
