"""What both sides know of a program: the module that its setup and code make, and the classes of the setup.

An instance of a class that the setup defines goes over by value (its class by name, its attributes as plain data), so that
a linked list or a tree can be given to the code and judged afterwards as the referee's own object.
"""

from __future__ import annotations

import enum
import sys
import types
from typing import Any

from .wire import BASES, Packer, Unpacker

MODULE = "answer"
CODE = "<answer>"  # the file name of the code in tracebacks


def module(name: str = MODULE) -> Any:
    """A fresh module for a program, known under its name, since dataclasses and typing look there."""
    made = types.ModuleType(name)
    made.__dict__["__builtins__"] = __builtins__ if isinstance(__builtins__, dict) else __builtins__.__dict__
    sys.modules[name] = made
    return made.__dict__


def classes(names: Any) -> Any:
    """The names of the classes that a module's dict itself defines."""
    own = names["__name__"]
    return {name for name, value in names.items() if isinstance(value, type) and value.__module__ == own and value.__qualname__ == name}


class Instances:
    """Packs and unpacks instances of the classes `known`, looked up in a module's dict, by value."""

    def __init__(self, names: Any, known: Any) -> None:
        self._names, self._known = names, known

    def pack(self, packer: Packer, value: Any) -> Any:
        """What says an instance, a class or an enum's member of the setup; None for anything else."""
        kind = type(value)
        if isinstance(value, type):
            return {"K": value.__name__} if value.__name__ in self._known and self._names.get(value.__name__) is value else None
        name = kind.__name__
        if name not in self._known or self._names.get(name) is not kind:
            return None
        if isinstance(value, enum.Enum):
            return {"E": [name, value.name]}
        if isinstance(value, BaseException):
            return {"X": [name, packer.pack(value.args)]}
        known = packer.remember(value)
        return known or self.content(packer, value)

    def content(self, packer: Packer, value: Any) -> Any:
        """The node of an instance that has its number already."""
        plain = next((base for base in BASES if isinstance(value, base)), None)
        state = {key: found for key, found in attributes(value).items() if not key.startswith("__")}
        if plain is None:
            return {"O": [type(value).__name__, packer.pairs(state)]}
        return {"N": [type(value).__name__, packer.pack(plain(value)), packer.pairs(state)]}

    def holds(self, value: Any) -> Any:
        """Whether this is an instance that goes by value and can change."""
        kind = type(value)
        return self._names.get(kind.__name__) is kind and kind.__name__ in self._known

    def _class(self, name: str) -> Any:
        if name not in self._known:
            raise KeyError(name)
        return self._names[name]

    def member(self, unpacker: Unpacker, body: Any) -> Any:
        return self._class(body[0])[body[1]]

    def type(self, unpacker: Unpacker, body: Any) -> Any:
        return self._class(body)

    def error(self, unpacker: Unpacker, body: Any) -> Any:
        kind = self._class(body[0])
        return kind.__new__(kind, *unpacker._value(body[1]))

    def object(self, unpacker: Unpacker, body: Any) -> Any:
        kind = self._class(body[0])
        made = object.__new__(kind)
        unpacker.values.append(made)
        return assign(made, unpacker.items(body[1]))

    def derived(self, unpacker: Unpacker, body: Any) -> Any:
        kind = self._class(body[0])
        base: Any = next(base for base in BASES if issubclass(kind, base))
        place = len(unpacker.values)
        unpacker.values.append(None)
        plain = unpacker._value(body[1])
        if base in (list, dict, set):
            made = base.__new__(kind)
            base.__init__(made, plain)
        else:
            made = base.__new__(kind, plain)
        unpacker.values[place] = made
        return assign(made, unpacker.items(body[2]))

    def special(self) -> Any:
        """What an Unpacker needs to read them."""
        return {"O": self.object, "N": self.derived, "E": self.member, "K": self.type, "X": self.error}


def attributes(value: Any) -> Any:
    """The attributes of an instance, of its dict and its slots."""
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                found[slot] = getattr(value, slot)
    return found


def assign(made: Any, parts: list[Any]) -> Any:
    """Sets attributes past any __setattr__ of the class (a frozen dataclass has one)."""
    for index in range(0, len(parts), 2):
        object.__setattr__(made, parts[index], parts[index + 1])
    return made


def replace(old: Any, new: Any) -> None:
    """Gives an instance the attributes of another of its class."""
    found = attributes(new)
    for key in attributes(old).keys() - found.keys():
        object.__delattr__(old, key)
    for key, value in found.items():
        object.__setattr__(old, key, value)
    if isinstance(old, list):
        list.__setitem__(old, slice(None), list.__iter__(new))
    elif isinstance(old, (set, dict)):
        base: Any = set if isinstance(old, set) else dict
        base.clear(old)
        base.update(old, new)
