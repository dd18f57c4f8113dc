"""Registries: a room's methods by name, each loaded from its own file only when a spec names it.

`engine/score/math.py` holds the scorer `math`; adding a method is adding a file. Packages outside Rondo add one
through an entry point of the group `rondo.<room>` that points to the class.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar

from engine.errors import SpecError

T = TypeVar("T")


def nearest(word: str, known: list[str]) -> str:
    """'; did you mean X?' for the closest of `known`, else the list of what is allowed."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(sorted(known))}"


@lru_cache
def _entries(room: str) -> dict[str, EntryPoint]:
    """Entry points of a room by name; looking through all installed packages takes 25 ms, so it is done once."""
    return {entry.name: entry for entry in entry_points(group=f"rondo.{room}")}


class Registry(Generic[T]):
    """Methods of one room (`engine.<room>`), registered by `@registry.register(name)` in the file <name>.py."""

    def __init__(self, room: str, not_methods: tuple[str, ...] = ()) -> None:
        self.room, self._hidden, self._methods = room, {"__init__", *not_methods}, dict[str, T]()

    def register(self, name: str) -> Callable[[T], T]:
        """Class decorator that files a method under `name`, which is also its file's name."""

        def file(method: T) -> T:
            self._methods[name] = method
            return method

        return file

    def names(self) -> list[str]:
        """Every method's name, without importing any."""
        folder = Path(__file__).parent / self.room.replace(".", "/")
        files = {p.stem for p in folder.glob("*.py")} - self._hidden
        return sorted(files | set(_entries(self.room)) | set(self._methods))

    def load(self, name: str) -> T:
        """The method called `name`; SpecError with the nearest name where there is none."""
        if name in self._methods:
            return self._methods[name]
        if name not in self.names():
            raise SpecError(f"no {self.room.removesuffix('.methods')} method {name!r}", hint=nearest(name, self.names()))
        if name in _entries(self.room):
            return _entries(self.room)[name].load()
        import_module(f"engine.{self.room}.{name}")
        return self._methods[name]
