"""The closed encoding between player and referee: JSON that can say plain data, and nothing else.

A JSON scalar is itself and an array is a list; everything else is an object with one key that says what it is. Lists, sets,
dicts and other mutable values are numbered in the order in which they are met, so that shared and cyclic values survive and
an argument that was changed in place can be sent back. What a side cannot say as plain data it gives a number (a handle).
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
from typing import Any

from .channel import Broken

SCALARS = frozenset({int, float, str, bool, type(None)})
CLASSES = {
    kind.__name__: kind
    for kind in (
        *(int, float, str, bool, complex, list, tuple, dict, set, frozenset, bytes, bytearray, range, object, type, slice),
        *(collections.Counter, collections.deque, collections.OrderedDict, collections.defaultdict, decimal.Decimal),
        *(fractions.Fraction, datetime.date, datetime.time, datetime.datetime, datetime.timedelta, type(None)),
    )
}
NAMES = {kind: name for name, kind in CLASSES.items()}
BASES = (bool, int, float, str, bytes, tuple, frozenset, list, set, dict)  # of subclasses that are sent with their plain value


class Packer:
    """Turns values into what a frame can say. `handle(value)` says what is no plain data; `seen` numbers mutable values."""

    def __init__(self, handle: Any, instance: Any = None) -> None:
        self._handle, self._instance = handle, instance
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # an id() is good only while its object lives

    def know(self, values: Any) -> None:
        """Takes over the numbers of values that came in with the message that this one answers."""
        for value in values:
            self._number(value)

    def _number(self, value: Any) -> None:
        self._seen[id(value)] = len(self._seen)
        self._kept.append(value)

    def pack(self, value: Any) -> Any:
        kind = type(value)
        if kind in SCALARS:
            if kind is int and not -BIG < value < BIG:
                return {"i": hex(value)}
            return value
        packed = PACKERS.get(kind)
        if packed is not None:
            if kind in MUTABLE:
                known = self._seen.get(id(value))
                if known is not None:
                    return {"=": known}
                self._number(value)
            return packed(self, value)
        if self._instance is not None:
            found = self._instance(self, value)
            if found is not None:
                return found
        return self._handle(self, value)

    def remember(self, value: Any) -> Any:
        """The reference to a value that was sent before in this message, or None; numbers it."""
        known = self._seen.get(id(value))
        if known is not None:
            return {"=": known}
        self._number(value)
        return None

    def all(self, values: Any) -> Any:
        """The packed items; a sequence of scalars with no large numbers is taken as it is."""
        kinds = set(map(type, values))
        if kinds <= SCALARS and (int not in kinds or (kinds == {int} and min(values) > -BIG and max(values) < BIG)):
            return list(values)
        return [self.pack(value) for value in values]

    def pairs(self, mapping: Any) -> Any:
        """Keys and values of a mapping, each packed, one after the other."""
        return [self.pack(part) for pair in mapping.items() for part in pair]


BIG = 1 << 200
PACKERS = {
    list: lambda packer, value: packer.all(value),
    tuple: lambda packer, value: {"t": packer.all(value)},
    dict: lambda packer, value: {"d": packer.pairs(value)},
    set: lambda packer, value: {"s": packer.all(value)},
    frozenset: lambda packer, value: {"f": packer.all(value)},
    bytes: lambda packer, value: {"b": value.decode("latin-1")},
    bytearray: lambda packer, value: {"B": value.decode("latin-1")},
    complex: lambda packer, value: {"c": [value.real, value.imag]},
    range: lambda packer, value: {"r": [packer.pack(part) for part in (value.start, value.stop, value.step)]},
    slice: lambda packer, value: {"S": [packer.pack(part) for part in (value.start, value.stop, value.step)]},
    type(...): lambda packer, value: {"e": 0},
    decimal.Decimal: lambda packer, value: {"D": str(value)},
    fractions.Fraction: lambda packer, value: {"F": [packer.pack(value.numerator), packer.pack(value.denominator)]},
    datetime.timedelta: lambda packer, value: {"T": ["timedelta", [value.days, value.seconds, value.microseconds]]},
    collections.Counter: lambda packer, value: {"C": packer.pairs(value)},
    collections.OrderedDict: lambda packer, value: {"o": packer.pairs(value)},
    collections.defaultdict: lambda packer, value: {"w": packer.pairs(value)},
    collections.deque: lambda packer, value: {"q": [value.maxlen, *packer.all(value)]},
}
for _kind in (datetime.date, datetime.time, datetime.datetime):
    PACKERS[_kind] = lambda packer, value: (
        {"T": [type(value).__name__, value.isoformat()]} if getattr(value, "tzinfo", None) is None else packer._handle(packer, value)
    )
MUTABLE = frozenset({list, dict, set, bytearray, collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque})


class Unpacker:
    """Turns what a frame says back into values. `special` builds what is not plain data, by key; `values` are the numbered ones."""

    def __init__(self, special: Any) -> None:
        self._special = special
        self.values: list[Any] = []

    def know(self, values: Any) -> None:
        """Takes over the numbered values of the message that this one answers."""
        self.values.extend(values)

    def unpack(self, node: Any) -> Any:
        """The value of a node. Broken where it is none."""
        try:
            return self._value(node)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
            raise Broken(f"a value that cannot be read ({type(error).__name__}: {error})") from None
        except RecursionError:
            raise Broken("a value that is nested too deeply") from None

    def _value(self, node: Any) -> Any:
        kind = type(node)
        if kind in SCALARS:
            return node
        if kind is list:
            return self._fill(node)
        ((key, body),) = node.items()
        if key == "d":
            return self._mapping({}, body)
        made = UNPACKERS.get(key)
        if made is not None:
            return made(self, body)
        if key == "=":
            return self.values[body]
        return self._special[key](self, body)

    def _fill(self, node: Any) -> Any:
        """A list: the array itself, its parts replaced where they are not scalars."""
        self.values.append(node)
        if not set(map(type, node)) <= SCALARS:
            node[:] = [self._value(part) for part in node]
        return node

    def _mapping(self, made: Any, body: Any) -> Any:
        self.values.append(made)
        parts = list(map(self._value, body))
        for index in range(0, len(parts), 2):
            made[parts[index]] = parts[index + 1]
        return made

    def items(self, body: Any) -> Any:
        """The values of an array that is not a list of its own."""
        if set(map(type, body)) <= SCALARS:
            return body
        return [self._value(part) for part in body]

    def set(self, body: Any) -> Any:
        made: set[Any] = set()
        self.values.append(made)
        made.update(self.items(body))
        return made

    def bytearray(self, body: Any) -> Any:
        made = bytearray(body.encode("latin-1"))
        self.values.append(made)
        return made

    def deque(self, body: Any) -> Any:
        made: collections.deque[Any] = collections.deque(maxlen=body[0])
        self.values.append(made)
        made.extend(self.items(body[1:]))
        return made


def _time(unpacker: Unpacker, body: Any) -> Any:
    kind, text = body
    if kind == "timedelta":
        return datetime.timedelta(*text)
    kinds: dict[str, Any] = {"date": datetime.date, "time": datetime.time, "datetime": datetime.datetime}
    return kinds[kind].fromisoformat(text)


UNPACKERS = {
    "i": lambda unpacker, body: int(body, 16),
    "t": lambda unpacker, body: tuple(unpacker.items(body)),
    "s": Unpacker.set,
    "f": lambda unpacker, body: frozenset(unpacker.items(body)),
    "b": lambda unpacker, body: body.encode("latin-1"),
    "B": Unpacker.bytearray,
    "c": lambda unpacker, body: complex(*body),
    "r": lambda unpacker, body: range(*unpacker.items(body)),
    "S": lambda unpacker, body: slice(*unpacker.items(body)),
    "e": lambda unpacker, body: ...,
    "D": lambda unpacker, body: decimal.Decimal(body),
    "F": lambda unpacker, body: fractions.Fraction(*unpacker.items(body)),
    "T": _time,
    "C": lambda unpacker, body: unpacker._mapping(collections.Counter(), body),
    "o": lambda unpacker, body: unpacker._mapping(collections.OrderedDict(), body),
    "w": lambda unpacker, body: unpacker._mapping(collections.defaultdict(), body),
    "q": Unpacker.deque,
    "g": lambda unpacker, body: CLASSES[body],
}


def refill(old: Any, new: Any) -> None:
    """Gives a mutable value the content of another of its kind: an argument that the other side changed in place."""
    if type(old) is not type(new):
        raise Broken(f"a changed argument that was a {type(old).__name__} and is a {type(new).__name__}")
    if isinstance(old, (list, bytearray)):
        old[:] = new
    elif isinstance(old, collections.deque):
        content = list(new)
        old.clear()
        old.extend(content)
    else:
        content = new.copy()
        old.clear()
        old.update(content)
