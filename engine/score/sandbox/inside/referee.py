"""Process 1 of the referee's jail: takes programs from the host, has the player run the code, runs the tests, gives verdicts.

`main` takes one JSON object (uid, memory, and the descriptors of the host and of the player's process 1).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import marshal
import os
import resource
import select
import signal
import socket
import time
from typing import Any

from . import shared
from .channel import HEADER, Broken, Channel, framed
from .identity import become, leash
from .plan import PURE, plan
from .requests import Gone, Link, export
from .wording import failed, raised, settle, shown

DRAIN = 0.1  # seconds after which a program that says much is read before it ends
HOLD = 0.02  # seconds for which verdicts may wait for each other
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)
SEVERED = (EOFError, BrokenPipeError, ConnectionResetError)


TRIAL = {"id": -1, "code": "def f(x): return [x]", "tests": "assert f(1) == [1]", "setup": "", "entry": None, "stdin": None}


class Late(BaseException):
    """The tests go on although the code has had all its time."""


def late(number: int, frame: Any) -> None:
    """The handler of the alarm."""
    raise Late


class Player:
    """Process 1 of the player's jail, as the referee speaks with it: begin a program, end it, learn how it ended."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._channel = Channel(descriptor)
        self._number = 0

    def begin(self) -> Any:
        """The referee's end of a fresh channel to a fresh process."""
        ours, theirs = socket.socketpair()
        self._number += 1
        socket.send_fds(self._socket, [b"g" + HEADER.pack(self._number)], [theirs.fileno()])
        theirs.close()
        return ours

    def wait(self, channel: Channel) -> Any:
        """How the program ended by itself; what it says meanwhile waits, so that nobody is woken for each word of it."""
        while not select.select([self._socket], [], [], DRAIN)[0]:
            channel.drain()
        return self._channel.receive()

    def end(self) -> Any:
        """How the program ended: {reason, exit, seconds, printed} and what it printed. Kills it if it runs."""
        self._socket.sendall(b"e" + HEADER.pack(self._number))
        return self._channel.receive()


def compiled(work: dict[str, Any]) -> Any:
    """(plan of the tests, the setup's and the code's bytes for the player), or (status, detail) where one is no Python."""
    made: Any = None
    setup = b""
    try:
        if work["tests"] is not None:
            made = plan(work["setup"], work["tests"], work["entry"])
            setup = made.sent
        elif work["setup"]:
            setup = marshal.dumps(compile(work["setup"], "<setup>", "exec", dont_inherit=True))
    except UNREADABLE as error:
        return "error", f"the tests are no Python ({error})"
    try:
        return made, setup, marshal.dumps(compile(work["code"], shared.CODE, "exec", dont_inherit=True))
    except UNREADABLE as error:
        return "unparseable", f"{type(error).__name__}: {error}"[:400]


def send(work: dict[str, Any], made: Any, setup: bytes, code: bytes, channel: Channel) -> None:
    """Gives the program to the process that waits for it."""
    task = {"script": made is None, "stdin": work["stdin"], "sizes": [len(setup), len(code)], "whole": made is None or made.whole}
    task.update(wanted=[], calls=[])
    if made is not None:
        task.update(wanted=made.called if made.whole else made.wanted, calls=made.ahead)
    channel.send_bytes(framed(task) + setup + code)


def judge(work: dict[str, Any], made: Any, channel: Channel) -> tuple[str, str | None]:
    """(status, detail) of a program that runs, or has run, at the channel; `gone` where only its end can tell."""
    names = shared.module()
    if made is not None:
        try:
            exec(made.setup, names)  # noqa: S102 - trusted as the tests are, and in a jail
        except Late:
            raise
        except BaseException as error:  # noqa: BLE001
            return "error", f"the setup of the tests raised {shown(error)}"
    try:
        link = Link(channel, names, shared.classes(names))
        told = _told(channel.receive(), made, link)
        return told if isinstance(told, tuple) else test(work, made, names, link, told)
    except SEVERED:
        return "gone", ""
    except Broken as error:
        return "failed", f"the code's side sent {error}"


def _told(message: Any, made: Any, link: Link) -> Any:
    """The names that the code made, or (status, detail) where it got no further."""
    kind = message[0] if isinstance(message, list) and message else None
    if kind == "raised" and made is not None and len(message) == 2:
        return "failed", raised(link.error(message[1]), link)
    if kind == "ended" and made is None and len(message) == 3:
        if message[2] is not None:
            return "failed", raised(link.error(message[2]), link)
        return ("passed", None) if message[1] == 0 else ("failed", f"exit status {message[1]}")
    if kind == "up" and made is not None and len(message) == 2 and isinstance(message[1], list):
        if made.whole:
            # nothing but calls that were foreseen: their results stand behind this message
            return [[name, {"h": [0, "call", name]}] for name in made.called if name in message[1]]
        return message[1]
    raise Broken("something else than what the code has made")


def test(work: dict[str, Any], made: Any, names: Any, link: Link, exports: list[Any]) -> Any:
    """(status, detail) of the tests, run over proxies of what the code made."""
    defined = {}
    for pair in exports:
        if not (isinstance(pair, list) and len(pair) == 2 and pair[0] in made.wanted):
            raise Broken("a name that was not asked for")
        defined[pair[0]] = export(link, *pair)
    entry = work["entry"]
    for name, value in defined.items():
        # a helper of the setup judges, so the code cannot stand in for it
        if name == entry or name not in names:
            # nor may its own idea of a module of the standard library
            names[name] = importlib.import_module(name) if name in PURE else value
    link.expect(made.ahead)
    try:
        if made.check and entry not in defined:
            return "failed", f"the code does not define {entry}"
        exec(made.code, names)  # noqa: S102
        if made.check:
            names["check"](names[entry])
    except Gone:
        pass
    except Late:
        raise
    except BaseException as error:  # noqa: BLE001 - a test may raise anything, a SystemExit too, and has then not passed
        if link.gone is None:
            return failed(error, made, link, defined)
    if link.gone is not None:
        return ("failed", link.gone) if link.gone else ("gone", "")
    return "passed", None


def forked(*given: Any) -> Any:
    """`judge` in a process of its own, for tests that might leave something behind in this one."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            verdict = judge(*given)
        except BaseException as error:  # noqa: BLE001 - it must not run on as a second referee
            verdict = ("error", f"the tests broke the referee: {shown(error)}")
        os.write(writer, json.dumps(verdict).encode()[:60000])
        os._exit(0)
    os.close(writer)
    data = b""
    try:
        while piece := os.read(reader, 65536):
            data += piece
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if os.getpid() == 1:
        # what the tests have started ends with them
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
    return tuple(json.loads(data)) if data else ("error", "the tests ended the referee's process")


def run(work: dict[str, Any], player: Player, limits: dict[str, Any]) -> Any:
    """The outcome of one program."""
    signal.setitimer(signal.ITIMER_REAL, limits["last"] + 1)
    ours = end = None
    try:
        ready = compiled(work)
        if len(ready) == 2:
            return {"id": work["id"], "status": ready[0], "detail": ready[1], "stdout": "", "seconds": 0.0}
        ours = player.begin()
        made, setup, code = ready
        channel = Channel(ours.fileno())
        try:
            send(work, made, setup, code, channel)
            if made is None or made.whole:
                end = player.wait(channel)
        except SEVERED:
            pass  # it has ended already, and how is told below
        verdict = (forked if made is not None and made.forks else judge)(work, made, channel)
    except Broken as error:
        verdict = ("failed", f"the code's side sent {error}")
    except Late:
        verdict = ("timeout", "the tests do not end")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if ours is not None:
            ours.close()
    if ours is None:
        return {"id": work["id"], "status": "timeout", "detail": "no end to reading the program", "stdout": "", "seconds": 0.0}
    end = end or player.end()
    status, detail = settle(verdict, end, limits)
    text = end["printed"] + (f"\n[{end['cut']} more bytes]" if end["cut"] else "")
    return {"id": work["id"], "status": status, "detail": detail, "stdout": text, "seconds": end["seconds"]}


def main(argument: str) -> None:
    """Serves the host until its end of the socket closes; ends itself where the player's process 1 is gone."""
    settings = json.loads(argument)
    become(settings["uid"])
    leash(settings["life"])
    resource.setrlimit(resource.RLIMIT_AS, (settings["referee"], settings["referee"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, late)
    host, player = Channel(settings["host"]), Player(settings["player"])
    # whoever dies after this was killed by a program, and is not a jail that never worked
    outcome = run(TRIAL, player, settings["limits"])
    if outcome["status"] != "passed":
        raise RuntimeError(f"a program that is right was judged {outcome['status']} ({outcome['detail']})")
    host.send({"ready": os.getpid()})
    held: list[Any] = []
    since = time.monotonic()
    while True:
        if held and (time.monotonic() - since > HOLD or not host.waiting()):
            host.send(*held)
            held, since = [], time.monotonic()
        try:
            work = host.receive()
        except EOFError:
            return
        held.append(run(work, player, settings["limits"]))
