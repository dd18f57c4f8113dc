"""Ends with status 0 if a process in the jail can become who it must be."""

from __future__ import annotations

from .identity import become


def main(argument: str) -> None:
    """The uid to become."""
    become(int(argument))
