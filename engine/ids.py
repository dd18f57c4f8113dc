"""Content ids: 16 hex digits of BLAKE2b over canonical JSON, the same on every machine."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:
    """JSON with sorted keys and no blanks: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def digest(*parts: Any) -> str:
    """16 hex digits over the canonical JSON of `parts`."""
    return blake2b(canonical(parts).encode(), digest_size=8).hexdigest()


def prompt_id(messages: Iterable[dict[str, Any]]) -> str:
    """Id of a prompt: its messages' roles and contents, nothing else, so a prompt is the same in every file."""
    return digest([[m["role"], m["content"]] for m in messages])


def content_id(response: str) -> str:
    """Id of an answer's text; siblings that say the same share it (scores are cached by it)."""
    return blake2b(response.encode(), digest_size=8).hexdigest()


def file_digest(path: Path) -> str:
    """16 hex digits over a file's bytes; reads in 1 MiB blocks."""
    state = blake2b(digest_size=8)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()
