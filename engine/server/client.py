"""Sends requests to a server and gives replies as they finish, whatever the server does in between.

An event loop in a thread of its own holds the connections; the caller sees a plain iterator. A request that meets 429, 5xx, a
time limit, a dropped connection or a broken body is tried again after an exponential pause with jitter, or after what
`Retry-After` says, until `attempts` or `patience` are used up. Its place goes to others meanwhile, and a request that comes back
goes before those that have not begun; `engine.server.window` sees to it that a full server gets fewer requests. Only where nobody
is at the server's address places are held: what is in flight waits for the server, and nothing else begins.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.errors import SpecError
from engine.randomness import row_keys, uniforms
from engine.server import ERROR, TIMEOUT, Failure, Reply, Request, ServerError, ServerParams, Usage
from engine.server.connections import Connections
from engine.server.window import Window
from engine.server.wire import PATHS, Away, Refused, Transient, Useless, body, reply

if TYPE_CHECKING:
    from tenacity import RetryCallState

LONGEST = 30.0  # seconds of the longest pause that the server has not asked for
BEHIND = 0.005  # seconds between two looks at a reader that is behind
Done = queue.SimpleQueue[Reply | BaseException | None]


class Client:
    """A server. `usage` counts what it has given so far. SpecError for a URL that is none, or where the key's variable is not set."""

    def __init__(self, params: ServerParams) -> None:
        params.check()
        self.params, self.usage = params, Usage()
        self._key = key(params.key_env) if params.key_env else ""
        self._met = False  # whether anybody has been at the server's address

    def complete(self, requests: Iterable[Request]) -> Generator[Reply, None, None]:
        """A reply for each request, in the order in which they finish; one that failed for good has a `failure`.

        A request is taken from `requests` when it can be sent, in a thread of this client. ServerError where the server takes no
        request at all. Closing the iterator drops what is in flight.
        """
        done: Done = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._serve(iter(requests), done))
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

    async def _serve(self, requests: Iterator[Request], done: Done) -> None:
        window = Window(self.params.concurrency)
        async with Connections(self._key) as connections, asyncio.TaskGroup() as group:
            while True:
                await window.enter()
                while done.qsize() >= self.params.concurrency:  # whoever reads is behind, and what is not read is not kept
                    await asyncio.sleep(BEHIND)
                request = next(requests, None)
                if request is None:
                    break
                group.create_task(self._answer(connections, window, request, done))
            await window.leave()

    async def _answer(self, connections: Connections, window: Window, request: Request, done: Done) -> None:
        """Puts the reply to one request, which has a place, after as many tries as it may have."""
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_before_delay

        began, tries, counted, placed = time.perf_counter(), 0, 0, True
        jitter = row_keys(os.getpid(), 0, "backoff", [request.key])

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            share = float(uniforms(jitter, state.attempt_number)[0])
            own = min(LONGEST, self.params.backoff * 2.0 ** min(32, state.attempt_number - 1)) * (0.5 + share / 2)
            asked = error.after if isinstance(error, Transient) else 0.0
            return max(own, asked + self.params.backoff * share if asked else 0.0)

        def spent(state: RetryCallState) -> bool:
            return counted >= self.params.attempts or patience(state)

        patience = stop_before_delay(self.params.patience)
        try:
            async for attempt in AsyncRetrying(stop=spent, wait=pause, retry=retry_if_exception_type(Transient), reraise=True):
                with attempt:
                    if not placed:
                        await window.enter(again=True)
                    placed, tries = True, tries + 1
                    try:
                        found = await self._try(connections, window, request)
                    except Transient as error:
                        counted += not (self._met and isinstance(error, Away))
                        placed = isinstance(error, Away)
                        if not placed:
                            await window.leave()
                        raise
            done.put(replace(found, attempts=tries, seconds=time.perf_counter() - began))
            return
        except Transient as error:
            asked = f", which asks for {error.after:g} s of patience" if error.after >= self.params.patience else ""
            failure = Failure(error.kind, f"{error.words}{asked} (tried {tries} times)")
        except Refused as error:
            failure = Failure(ERROR, str(error), refused=True)
        except Useless as error:
            hint = "look at server.url, server.model and server.key_env" if self._key else "does it need a key (server.key_env)?"
            raise ServerError(str(error), where=f"{self.params.base}{PATHS[self.params.api]}", hint=hint) from None
        finally:
            if placed:
                await window.leave()
        done.put(Reply(request.key, attempts=tries, seconds=time.perf_counter() - began, failure=failure))

    async def _try(self, connections: Connections, window: Window, request: Request) -> Reply:
        """One try. Transient where another may end better."""
        import httpx

        began, limit, http = window.now(), self.params.timeout, await connections.take()
        try:
            async with asyncio.timeout(limit):
                response = await http.post(self.params.base + PATHS[self.params.api], json=body(self.params, request))
            self._met = True
            found = reply(response, request, self._hidden)
        except (TimeoutError, httpx.TimeoutException) as error:
            window.failed(began)
            kind: type[Transient] = Away if isinstance(error, httpx.ConnectTimeout) else Transient
            raise kind(f"no reply within {limit:g} s", TIMEOUT) from error
        except httpx.RequestError as error:
            window.failed(began)
            kind = Away if isinstance(error, httpx.ConnectError) else Transient
            raise kind(self._hidden(f"the connection failed: {type(error).__name__}: {error}")) from error
        except Transient as error:
            window.failed(began, error.after if error.after < self.params.patience else 0.0)
            raise
        finally:
            connections.give(http)
        window.good()
        return found

    def _hidden(self, text: str) -> str:
        """The text without the key, should the server repeat it."""
        for secret in (self._key, json.dumps(self._key)[1:-1]) if self._key else ():
            text = text.replace(secret, "***")
        return text


def key(variable: str) -> str:
    """The API key in an environment variable. SpecError where there is none, or one that no header can carry."""
    found = os.environ.get(variable, "").strip()
    if not found:
        raise SpecError(f"server.key_env: the environment variable {variable} is not set", hint="export it, then run again")
    if not (found.isascii() and found.isprintable()) or " " in found:
        text = f"server.key_env: the environment variable {variable} holds blanks or characters that are not ASCII"
        raise SpecError(text, hint="export the key alone, then run again")
    return found


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None], done: Done) -> None:
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
