"""Replies on disk, a line each, as they come: after a crash only what was in flight is asked again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from engine.errors import LakeError
from engine.server import Choice, Reply, Request, Token
from engine.server.client import Client

SYNC = 1.0  # seconds between two writes that reach the disk itself; a killed process loses nothing in between


class Log:
    """A file of replies. A line that a crash cut off counts as never written. LakeError where the disk says no."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._synced = 0.0

    def replies(self) -> dict[str, Reply]:
        """Every reply in it, by key."""
        try:
            text = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise LakeError(f"cannot read the journal: {error}", where=str(self.path)) from error
        found = {}
        for number, line in enumerate(text.split(b"\n")[:-1], 1):
            try:
                reply = _reply(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                hint = "remove this file, then run again"
                raise LakeError(f"cannot read the journal: {error}", where=f"{self.path}:{number}", hint=hint) from error
            found[reply.key] = reply
        return found

    def append(self, reply: Reply) -> None:
        """Adds a reply that is no failure."""
        try:
            file = self._file or self._open()
            file.write(json.dumps(asdict(reply), separators=(",", ":")).encode() + b"\n")
            file.flush()
            if time.monotonic() - self._synced > SYNC:
                os.fsync(file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise LakeError(f"cannot write the journal: {error}", where=str(self.path), hint="free space, then run again") from error

    def _open(self) -> IO[bytes]:
        """The file behind its last whole line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self._file = self.path.open("ab")
        whole = self.path.read_bytes().rfind(b"\n") + 1
        file.truncate(whole)
        return file

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def complete(client: Client, requests: Sequence[Request], path: Path) -> Generator[Reply, None, None]:
    """`client.complete`, but for replies that the log at `path` has: they come first, and new ones are added to it.

    Failures are not kept: a run after this one tries them again.
    """
    with Log(path) as log:
        known = log.replies()
        yield from (known[request.key] for request in requests if request.key in known)
        replies = client.complete([request for request in requests if request.key not in known])
        try:
            for reply in replies:
                if reply.failure is None:
                    log.append(reply)
                yield reply
        finally:
            replies.close()


def _reply(found: dict[str, Any]) -> Reply:
    choices = tuple(
        Choice(choice["text"], choice["finish_reason"], tuple(Token(**token) for token in choice["tokens"])) for choice in found["choices"]
    )
    return Reply(**found | {"choices": choices, "failure": None})
