"""The referee's side of the channel: asks the player, reads what comes, and gives away nothing but plain data and callables."""

from __future__ import annotations

import builtins
from typing import Any

from . import shared
from .channel import Broken, Channel
from .handles import SHADOWS, Class, Function, Handle, Iterator
from .wire import MUTABLE, NAMES, Packer, Unpacker, refill

SHORT = 200  # characters of a value in a detail
_NOTHING = object()


class Gone(BaseException):
    """The player has ended, or speaks no more of the protocol."""


class Link:
    """The referee's side of the channel for one program."""

    def __init__(self, channel: Channel, names: Any, known: Any) -> None:
        self._channel = channel
        self._instances = shared.Instances(names, known)
        self._own: list[Any] = []
        self._errors: dict[Any, type[BaseException]] = {}
        self._ahead: list[Any] = []
        self.line: int | None = None  # of the code, where its last exception came from
        self.gone: str | None = None  # why nothing more can come from the player
        self.last: Any = _NOTHING  # what its last call gave
        self._special = {
            "h": lambda unpacker, body: Handle(self, int(body[0]), str(body[2])),
            "y": lambda unpacker, body: self._own[body],
            "u": self._subclass,
            "Z": lambda unpacker, body: self._lineage(body),
            **self._instances.special(),
        }

    def expect(self, calls: list[Any]) -> None:
        """Tells that the player makes these calls by itself: [(name, arguments)], their results come in this order."""
        self._ahead = list(calls)

    def unpack(self, node: Any) -> Any:
        return Unpacker(self._special).unpack(node)

    def _subclass(self, unpacker: Unpacker, body: Any) -> Any:
        place = len(unpacker.values)
        plain = unpacker._value(body[0])
        kind = SHADOWS.get(type(plain))
        if kind is None:
            return plain
        made = kind(plain)
        if type(plain) in MUTABLE:
            unpacker.values[place] = made
        made._handle = Handle(self, int(body[1]), str(body[2]))
        return made

    def _lineage(self, body: Any) -> Any:
        """The exception class of the referee that stands for one of the code."""
        base = getattr(builtins, body[-1], None)
        if not (isinstance(base, type) and issubclass(base, BaseException)):
            raise Broken(f"an exception of the type {body[-1]!r}")
        for name, number in reversed(body[:-1]):
            if number not in self._errors:
                self._errors[number] = type(str(name), (base,), {})
            base = self._errors[number]
        return base

    def _say(self, packer: Packer, value: Any) -> Any:
        if isinstance(value, Handle):
            if value._number < 0:
                raise TypeError("the result of arithmetic between an object of the code and a plain value cannot be passed on")
            return {"y": value._number}
        if isinstance(value, Iterator) and isinstance(value._handle, Handle):
            return {"y": value._handle._number}
        if type(value) in SHADOWS.values() and value._handle is not None:
            return {"y": value._handle._number}
        if isinstance(value, type) and value in NAMES:
            return {"g": NAMES[value]}
        self._own.append(value)
        return {"h": [len(self._own) - 1, "call" if callable(value) else "object"]}

    def request(self, operation: str, args: Any, keywords: Any) -> Any:
        """What the player answers; its exception is raised here; arguments that it changed in place are changed here.

        Gone where the player has ended or says what is no answer; it stays gone, whatever the tests make of it.
        """
        if self.gone is None:
            try:
                return self._request(operation, args, keywords)
            except (EOFError, BrokenPipeError, ConnectionResetError):
                self.gone = ""
            except Broken as error:
                self.gone = f"the code's side sent {error}"
        raise Gone(self.gone)

    def _request(self, operation: str, args: Any, keywords: Any) -> Any:
        packer = Packer(self._say, self._instances.pack)
        parts = [packer.pack(value) for value in args]
        named = [[name, packer.pack(value)] for name, value in keywords.items()]
        if self._ahead:
            name, known = self._ahead.pop(0)
            if operation != "call" or not isinstance(args[0], Function) or args[0]._called != name or parts[1:] != known or named:
                raise Broken(f"the tests did something else than the call of {name} that was foreseen")
        else:
            self._channel.send([operation, parts, named])
        while True:
            reply = self._reply()
            if reply[0] != "back":
                break
            self._call_back(reply)
        unpacker = Unpacker(self._special)
        unpacker.know(packer._kept)
        if reply[0] == "x":
            raise self.error(reply[1])
        if reply[2] is not None:
            self._change(unpacker, packer._kept, reply[2])
        else:
            unpacker.know([None] * len(packer._kept))
        result = unpacker.unpack(reply[1])
        if operation == "call":
            self.last = result
            if isinstance(result, Handle) and isinstance(args[0], Class):
                result._made = True
        return result

    def found(self) -> Any:
        """What the code's last call gave, in words; None where nothing plain came."""
        if self.last is _NOTHING:
            return None
        if isinstance(self.last, (Handle, Iterator)):
            shown = self.last._handle if isinstance(self.last, Iterator) else self.last
            return f"an object ({getattr(shown, '_name', 'iterator')})"
        try:
            return repr(self.last)[:SHORT]
        except Exception:  # noqa: BLE001 - a number may be too long to be shown
            return f"a {type(self.last).__name__} that cannot be shown"

    def _reply(self) -> Any:
        reply = self._channel.receive()
        if not (isinstance(reply, list) and ((reply[:1] == ["v"] and len(reply) == 3) or reply[:1] in (["x"], ["back"]))):
            raise Broken("a reply that is none")
        return reply

    def _change(self, unpacker: Unpacker, olds: Any, contents: Any) -> None:
        if not isinstance(contents, list) or len(contents) != len(olds):
            raise Broken("changed arguments that are not those that were given")
        news = [unpacker.unpack(node) for node in contents]
        for old, new in zip(olds, news, strict=True):
            if type(old) in MUTABLE:
                refill(old, new)
            elif type(old) is type(new):
                shared.replace(old, new)
            else:
                raise Broken("a changed argument of another type")

    def _call_back(self, reply: Any) -> None:
        try:
            _, number, args, keywords = reply
            function = self._own[number]
            unpacker = Unpacker(self._special)
            values = [unpacker.unpack(node) for node in args]
            named = {str(name): unpacker.unpack(node) for name, node in keywords}
        except (ValueError, TypeError, IndexError) as error:
            raise Broken(f"a call of something that was not given ({error})") from None
        try:
            result = function(*values, **named)
            packer = Packer(self._say, self._instances.pack)
            packer.know(unpacker.values)
            answer = ["v", packer.pack(result)]
        except Exception as error:  # noqa: BLE001 - a function of the tests may raise what the code is to handle
            answer = ["x", type(error).__name__, str(error)]
        self._channel.send(answer)

    def error(self, body: Any) -> Any:
        """An exception of the code, as one of this side; Broken if it is none."""
        try:
            lineage, args, text, line = body
            kind = self._lineage(lineage)
            self.line = line if isinstance(line, int) else None
            args = self.unpack(args)
        except (TypeError, ValueError, IndexError) as error:
            raise Broken(f"an exception that cannot be read ({error})") from None
        try:
            return kind(*args)
        except Exception:  # noqa: BLE001 - an exception may want other arguments than it keeps
            return kind.__new__(kind, str(text))


def export(link: Link, name: str, node: Any) -> Any:
    """The value of a name of the code."""
    if isinstance(node, dict) and list(node) == ["h"]:
        number, kind, shown = node["h"]
        made = (Class if kind == "class" else Function)(link, int(number), str(shown))
        object.__setattr__(made, "_called", name)
        return made
    return link.unpack(node)
