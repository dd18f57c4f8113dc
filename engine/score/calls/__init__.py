"""Tool calls: how they stand in an answer (reading), what tools take (tools), and when two calls are the same (matching)."""

from __future__ import annotations

from typing import Any, NamedTuple


class Call(NamedTuple):
    """One call of a tool."""

    name: str
    arguments: dict[str, Any]


class Unreadable(ValueError):
    """A text that should hold calls and does not; says why."""
