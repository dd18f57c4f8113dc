"""What the tests see of the code: functions, classes and objects of the player, behind handles.

A handle sends what is done with it to the player and gives back what comes. So that no object can answer for the value that
a test expects, a handle never equals a plain value and has no order with one, arithmetic with a plain value gives a handle
again, whose truth and number cannot be asked for, membership is decided here over what it iterates, and it has no method
that is a yes-or-no question of a builtin type, unless the test itself made it by calling a class of the code.
"""

from __future__ import annotations

from typing import Any

PREDICATES = {
    *("issubset", "issuperset", "isdisjoint", "startswith", "endswith", "is_integer", "isascii", "isprintable"),
    *("isalnum", "isalpha", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isspace", "istitle", "isupper"),
}


class Handle:
    """Something of the player's that is no plain data."""

    __slots__ = ("_link", "_made", "_name", "_number", "_tainted")

    def __init__(self, link: Any, number: int, name: str, made: Any = False, tainted: Any = False) -> None:
        self._link, self._number, self._name, self._made, self._tainted = link, number, name, made, tainted

    def _do(self, operation: str, *args: Any, **keywords: Any) -> Any:
        return self._link.request(operation, (self, *args), keywords)

    def _plain(self, operation: str) -> Any:
        if self._tainted:
            raise TypeError(f"the result of arithmetic between an object of the code ({self._name}) and a plain value has no plain value")
        return self._do(operation)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(f"an object of the code ({self._name}) does not show {name}")
        if name in PREDICATES and not self._made:
            raise AttributeError(f"an object of the code ({self._name}) is no plain value and cannot answer {name}")
        return self._do("get", name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Handle.__slots__:
            object.__setattr__(self, name, value)
        else:
            self._do("set", name, value)

    def __delattr__(self, name: str) -> None:
        self._do("del", name)

    def __eq__(self, other: Any) -> Any:
        return isinstance(other, Handle) and other._link is self._link and (other._number == self._number or self._do("eq", other) is True)

    def __ne__(self, other: Any) -> Any:
        return not self == other

    def __hash__(self) -> Any:
        return self._do("hash")

    def __bool__(self) -> Any:
        return self._plain("bool") is True

    def __float__(self) -> Any:
        return self._plain("float")

    def __int__(self) -> Any:
        return self._plain("int")

    def __index__(self) -> Any:
        return self._plain("index")

    def __complex__(self) -> Any:
        return self._plain("complex")

    def __str__(self) -> Any:
        return self._plain("str")

    def __repr__(self) -> Any:
        return self._plain("repr")

    def __format__(self, form: Any) -> Any:
        return self._do("format", form)

    def __len__(self) -> Any:
        return self._plain("len")

    def __dir__(self) -> Any:
        return self._do("dir")

    def __iter__(self) -> Any:
        return Iterator(self._do("iter"))

    def __reversed__(self) -> Any:
        return Iterator(self._do("reversed"))

    def __next__(self) -> Any:
        return self._do("next")

    def __getitem__(self, key: Any) -> Any:
        return self._do("getitem", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._do("setitem", key, value)

    def __delitem__(self, key: Any) -> None:
        self._do("delitem", key)

    def __contains__(self, item: Any) -> Any:
        if self._made or isinstance(item, Handle):
            return self._do("contains", item) is True
        return any(found is item or found == item for found in self)

    def __enter__(self) -> Any:
        return self._do("enter")

    def __exit__(self, *error: Any) -> Any:
        return self._do("exit", None, None, None) if error[0] is None else False

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._do("call", *args, **keywords)

    def __instancecheck__(self, instance: Any) -> Any:
        return isinstance(instance, Handle) and self._link.request("isinstance", (instance, self), {}) is True

    def __subclasscheck__(self, kind: Any) -> Any:
        return isinstance(kind, Handle) and self._link.request("issubclass", (kind, self), {}) is True

    def __mro_entries__(self, bases: Any) -> None:
        raise TypeError("a class of the tests cannot inherit from a class of the code")


class Iterator:
    """Iterates what an iterator of the player gives, one request an item."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self._handle._do("next") if isinstance(self._handle, Handle) else next(self._handle)


def _order(name: str) -> Any:
    def compare(self: Any, other: Any) -> Any:
        return self._do(name, other) is True if isinstance(other, Handle) else NotImplemented

    return compare


def _unary(name: str) -> Any:
    def operate(self: Any, *args: Any) -> Any:
        return opaque(self, self._do(name, *args))

    return operate


def _binary(name: str) -> Any:
    def operate(self: Any, other: Any) -> Any:
        result = self._do(name, other)
        return result if isinstance(other, Handle) else opaque(self, result)

    return operate


def opaque(handle: Any, result: Any) -> Any:
    """A result that must stay behind a handle: the code has seen the plain operand and could answer what is asked next."""
    if not isinstance(result, Handle):
        return Handle(handle._link, -1, type(result).__name__, tainted=True)
    result._tainted = True
    return result


for _name in ("lt", "le", "gt", "ge"):
    setattr(Handle, f"__{_name}__", _order(_name))
for _name in ("abs", "neg", "pos", "invert", "round"):
    setattr(Handle, f"__{_name}__", _unary(_name))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift", "and_", "or_", "xor"):
    setattr(Handle, f"__{_name.rstrip('_')}__", _binary(_name))
    setattr(Handle, f"__r{_name.rstrip('_')}__", _binary("r" + _name))


def _shadow(base: Any) -> Any:
    """A subclass of a plain type: equal, ordered and hashed as its plain value; other attributes are the player's."""

    def getter(self: Any, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._handle._do("get", name)

    return type(f"Shadow_{base.__name__}", (base,), {"__getattr__": getter, "_handle": None})


SHADOWS = {base: _shadow(base) for base in (int, float, str, bytes, tuple, frozenset, list, set, dict)}


class Function(Handle):
    """A name that the code defines, as the tests call it."""

    __slots__ = ("_called",)


class Class(Function):
    """A class that the code defines; what the tests make of it may answer more."""

    __slots__ = ()
