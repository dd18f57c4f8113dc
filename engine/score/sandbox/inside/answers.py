"""The player's side of the channel: does what the referee asks with the objects of the code and says the result as plain data."""

from __future__ import annotations

import builtins
import operator
import sys
import traceback
from typing import Any

from . import shared
from .channel import Channel
from .wire import BASES, MUTABLE, NAMES, PACKERS, Packer, Unpacker

SHORT = 400  # characters of an exception's text


class Remote:
    """A callable of the referee; calling it is all that the code can do with it."""

    def __init__(self, link: Link, number: int) -> None:
        self._link, self._number = link, number

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._link.back(self._number, args, keywords)


class Opaque:
    """Any other object of the referee: it can be passed around and given back."""

    def __init__(self, link: Link, number: int) -> None:
        self._number = number


class Link:
    """What the player's side of the channel knows: the objects it has named, and how values are said."""

    def __init__(self, channel: Channel | None, names: Any, known: Any) -> None:
        self._channel, self._names = channel, names
        self._instances = shared.Instances(names, known)
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._special = {"h": self._theirs, "y": lambda unpacker, body: self._objects[body], **self._instances.special()}

    def packer(self) -> Any:
        return Packer(self._handle, self._instances.pack)

    def number(self, value: Any) -> Any:
        """The number under which the referee knows an object of this side; it is kept alive."""
        found = self._numbers.get(id(value))
        if found is None:
            found = self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        return found

    def _handle(self, packer: Packer, value: Any) -> Any:
        if isinstance(value, (Remote, Opaque)):
            return {"y": value._number}
        kind = type(value)
        if isinstance(value, type):
            if value in NAMES:
                return {"g": NAMES[value]}
            if issubclass(value, BaseException):
                return {"Z": self.lineage(value)}
            return {"h": [self.number(value), "class", value.__name__]}
        for base in BASES:
            if isinstance(value, base):
                # the plain value as the base class holds it, whatever the class says of itself
                plain = BASE_VALUES[base](value)
                return {"u": [packer.pack(plain), self.number(value), kind.__name__]}
        if isinstance(value, BaseException):
            return {"h": [self.number(value), "object", kind.__name__]}
        return {"h": [self.number(value), "call" if callable(value) else "object", getattr(value, "__name__", kind.__name__)]}

    def lineage(self, kind: Any) -> Any:
        """[[name, number], ...] of an exception class and its parents that are not builtin, then the builtin's name."""
        own: list[Any] = []
        for part in kind.__mro__:
            if part.__module__ == "builtins":
                return [*own, part.__name__]
            if issubclass(part, BaseException):
                own.append([part.__name__, self.number(part)])
        return [*own, "Exception"]

    def _theirs(self, unpacker: Unpacker, body: Any) -> Any:
        number, kind = body
        return Remote(self, number) if kind == "call" else Opaque(self, number)

    def back(self, number: int, args: Any, keywords: Any) -> Any:
        """Calls a callable of the referee."""
        packer = self.packer()
        assert self._channel is not None
        self._channel.send(["back", number, packer.all(args), [[name, packer.pack(value)] for name, value in keywords.items()]])
        reply = self._channel.receive()
        unpacker = Unpacker(self._special)
        unpacker.know(packer._kept)
        if reply[0] == "v":
            return unpacker.unpack(reply[1])
        raise getattr(builtins, reply[1], RuntimeError)(reply[2])

    def do(self, operation: str, parts: list[Any], keywords: Any) -> list[Any]:
        """The reply to one request: ["v", value, changed arguments or None] or ["x", exception]."""
        unpacker = Unpacker(self._special)
        args = [unpacker.unpack(part) for part in parts]
        named = {name: unpacker.unpack(part) for name, part in keywords}
        return self.perform(OPERATIONS[operation], unpacker.values, args, named)

    def perform(self, function: Any, values: Any, args: Any, named: Any) -> list[Any]:
        try:
            before = self._contents(values)[1] if values else None
            result = function(*args, **named)
            packer, after = self._contents(values)
            try:
                return ["v", packer.pack(result), after if after != before and values else None]
            except RecursionError:
                return ["v", {"h": [self.number(result), "object", type(result).__name__]}, None]
        except BaseException as error:  # noqa: BLE001 - whatever the code raises is the referee's to judge
            return ["x", self.error(error)]
        finally:
            flush()

    def _contents(self, values: Any) -> Any:
        """The packer that answers, and what every changeable value of the request now holds."""
        packer = self.packer()
        packer.know(values)
        nodes = []
        for value in values:
            packer._number(object())
            kind = type(value)
            nodes.append(PACKERS[kind](packer, value) if kind in MUTABLE else self._instances.content(packer, value))
        return packer, nodes

    def error(self, error: Any) -> Any:
        """[lineage, arguments, text, line of the code] of an exception."""
        line = None
        for frame, number in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename == shared.CODE:
                line = number
        try:
            text = str(error)[:SHORT]
        except Exception:  # noqa: BLE001 - an exception may refuse to be shown
            text = ""
        try:
            packed = self.packer().pack(error.args)
        except Exception:  # noqa: BLE001 - or hold anything
            packed = {"t": [text]}
        return [self.lineage(type(error)), packed, text, line]


def flush() -> None:
    """Hands what was printed to the kernel; the code may have replaced or closed its stdout."""
    try:  # noqa: SIM105 - called for every call of the tests
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 - what the code put there may raise anything, and lost output is its own loss
        pass


BASE_VALUES: dict[Any, Any] = {
    bool: bool,
    int: int.__int__,
    float: float.__float__,
    str: lambda value: str.__str__(value)[:] if type(str.__str__(value)) is str else "".join(str.__iter__(value)),
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    list: lambda value: list(list.__iter__(value)),
    set: lambda value: set(set.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
}


def _swapped(function: Any) -> Any:
    return lambda left, right: function(right, left)


OPERATIONS = {
    "call": lambda function, *args, **keywords: function(*args, **keywords),
    "get": getattr,
    "set": setattr,
    "del": delattr,
    "str": str,
    "repr": repr,
    "len": len,
    "iter": iter,
    "next": next,
    "bool": bool,
    "hash": hash,
    "float": float,
    "int": int,
    "index": operator.index,
    "complex": complex,
    "abs": abs,
    "dir": dir,
    "round": round,
    "format": format,
    "isinstance": isinstance,
    "issubclass": issubclass,
    "reversed": reversed,
    "neg": operator.neg,
    "pos": operator.pos,
    "invert": operator.invert,
    "divmod": divmod,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "contains": operator.contains,
    **{name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "enter": lambda value: type(value).__enter__(value),
    "exit": lambda value, *error: type(value).__exit__(value, *error),
}
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift", "and_", "or_", "xor"):
    OPERATIONS[_name] = getattr(operator, _name)
    OPERATIONS["r" + _name] = _swapped(getattr(operator, _name))
