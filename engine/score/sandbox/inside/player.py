"""The side of the code: runs it in a fresh process, then does what the referee asks and answers in plain data.

All of this is in the reach of the code it runs and may be turned against itself; nothing it says is a verdict.
"""

from __future__ import annotations

import marshal
import os
import sys
from typing import Any

from . import shared
from .answers import Link, flush
from .channel import Channel


def play(channel: Channel, names: dict[str, Any]) -> Any:
    """Runs one program to its end in a module's dict; never returns to the caller's code."""
    work = channel.receive()
    # the referee has compiled both: it is warm, and a fresh process is not
    before, size = work["sizes"]
    setup = marshal.loads(channel.receive_bytes(before)) if before else None
    code = marshal.loads(channel.receive_bytes(size))
    if work["script"]:
        names["__name__"] = "__main__"
        feed(work["stdin"])
        sys.modules["__main__"] = sys.modules[shared.MODULE]
    link = Link(channel, names, ())
    try:
        if setup is not None:
            exec(setup, names)  # noqa: S102 - the purpose of the jail
            link = Link(channel, names, shared.classes(names))
        exec(code, names)  # noqa: S102
    except BaseException as error:  # noqa: BLE001
        if work["script"]:
            script_ends(channel, link, error)
        flush()
        channel.send(["raised", link.error(error)])
        os._exit(1)
    if work["script"]:
        script_ends(channel, link, None)
    serve(channel, link, names, work)


def feed(text: Any) -> None:
    """Makes the text what the program reads as its stdin."""
    if text:
        source = os.open("stdin", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        os.unlink("stdin")
        data = memoryview(text.encode("utf-8", "surrogateescape"))
        while data:
            data = data[os.write(source, data) :]
        os.lseek(source, 0, os.SEEK_SET)
        os.dup2(source, 0)
        os.close(source)


def script_ends(channel: Channel, link: Link, error: Any) -> None:
    """Ends a script as Python would: threads, exit handlers, flush, exit status."""
    import atexit
    import threading

    status = 0
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        error = None
    elif error is not None:
        status, error = 1, link.error(error)
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException as late:  # noqa: BLE001
        status, error = 1, error or link.error(late)
    channel.send(["ended", status, error])
    os._exit(status & 255)


def serve(channel: Channel, link: Link, names: Any, work: dict[str, Any]) -> None:
    """Tells the names that the tests use, makes the calls that are known ahead, then serves until the channel ends."""
    flush()
    if work["whole"]:
        # the referee reads when this process has ended
        channel.send(["up", [name for name in work["wanted"] if name in names]])
        for call in work["calls"]:
            channel.send(made(link, names, *call))
        os._exit(0)
    packer = link.packer()
    messages = [["up", [[name, packer.pack(names[name])] for name in work["wanted"] if name in names]]]
    for call in work["calls"]:
        # each result goes out before the next call, which may never end
        channel.send(*messages)
        messages = [made(link, names, *call)]
    channel.send(*messages)
    while True:
        try:
            message = channel.receive()
        except EOFError:
            os._exit(0)
        channel.send(link.do(*message))


def made(link: Link, names: Any, name: str, parts: list[Any]) -> list[Any]:
    """The reply to a call that was known ahead."""
    if name in names:
        return link.do("call", [{"y": link.number(names[name])}, *parts], ())
    return ["x", link.error(NameError(f"name '{name}' is not defined"))]
