"""Replies on disk, a line each, as they come: after a crash only what was in flight is asked again."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.errors import LakeError
from engine.lines import HINT, Lines
from engine.server import Choice, Reply, Request, Token
from engine.server.client import Client


def replies(log: Lines) -> dict[str, Reply]:
    """Every reply in it, by key. LakeError for a line that is none."""
    found = {}
    for number, line in enumerate(log.read(), 1):
        try:
            reply = _reply(line)
        except (KeyError, TypeError) as error:
            raise LakeError(f"cannot read the journal: {error}", where=f"{log.path}:{number}", hint=HINT) from error
        found[reply.key] = reply
    return found


def complete(client: Client, requests: Sequence[Request], path: Path) -> Generator[Reply, None, None]:
    """`client.complete`, but for replies that the log at `path` has: they come first, and new ones are added to it.

    Failures are not kept: a run after this one tries them again.
    """
    with Lines(path) as log:
        known = replies(log)
        yield from (known[request.key] for request in requests if request.key in known)
        answers = client.complete([request for request in requests if request.key not in known])
        try:
            for reply in answers:
                if reply.failure is None:
                    log.append([asdict(reply)])
                yield reply
        finally:
            answers.close()


def _reply(found: dict[str, Any]) -> Reply:
    choices = tuple(
        Choice(choice["text"], choice["finish_reason"], tuple(Token(**token) for token in choice["tokens"])) for choice in found["choices"]
    )
    return Reply(**found | {"choices": choices, "failure": None})
