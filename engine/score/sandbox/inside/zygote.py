"""Process 1 of the player's jail: forks a process for each program, ends it and whatever it started, leaves nothing behind.

It never reads a program: the code goes from the referee to the forked process over a socket that only passes through here.
`main` takes one JSON object (uid, limits, the filter, the descriptor of the referee).
"""

from __future__ import annotations

# what programs import most, loaded once: an import costs more than a fork
import bisect  # noqa: F401
import contextlib
import copy  # noqa: F401
import ctypes
import dataclasses  # noqa: F401
import functools  # noqa: F401
import gc
import heapq  # noqa: F401
import itertools  # noqa: F401
import json
import math  # noqa: F401
import operator  # noqa: F401
import os
import random
import re  # noqa: F401
import resource
import select
import signal
import socket
import statistics  # noqa: F401
import string  # noqa: F401
import sys
import time
import typing  # noqa: F401
from typing import Any

from . import shared
from .answers import Link
from .channel import HEADER, Channel, framed
from .folder import empty
from .identity import LIBC, SET_PDEATHSIG, Filter, become, check
from .player import play

TICK = 0.05  # seconds between two looks at a program that runs on
BUSY = 0.05  # of the time on a core: a program that gets less waits for something else than a core
INODES = 2000  # files that a program may make


def fork() -> Any:
    """A child, without the Python hooks around os.fork, which cost as much again: this process has one thread and no locks."""
    child = FORK()
    if child < 0:
        raise OSError(ctypes.get_errno(), "fork")
    return child


FORK = ctypes.PyDLL(None, use_errno=True).fork


class Zygote:
    """Runs one program after the other."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._limits, self._alone = settings["limits"], settings["limits"]["processes"] == 1
        self._referee = socket.socket(fileno=settings["referee"])
        self._channel = Channel(settings["referee"])
        self._filter = Filter(bytes.fromhex(settings["alone"]))
        self._first = os.getpid() == 1
        self._null = os.open("/dev/null", os.O_RDWR)
        # a nameless file: what is printed can neither be read by the next program nor fill anything beyond /tmp
        self._files = os.getcwd()
        self._printed = os.open("printed", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        os.unlink("printed")
        self._inodes = self._used()

    def serve(self) -> None:
        """Until the referee's end closes."""
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._referee, 5, 1)
            while 0 < len(message) < 5:
                message += self._referee.recv(5 - len(message))
            if len(message) < 5:
                return
            if message[:1] == b"g":
                self._program(descriptors[0], HEADER.unpack(message[1:])[0])

    def _program(self, descriptor: int, number: int) -> None:
        began = time.monotonic()
        child = fork()
        if child == 0:
            self._play(descriptor)
        os.close(descriptor)
        reason = self._watch(child, number, began)
        status, usage = self._reap(child)
        empty(self._files)
        self._channel.send(
            {
                "reason": reason,
                "exit": os.waitstatus_to_exitcode(status),
                "seconds": round(usage.ru_utime + usage.ru_stime, 6),
                **self._output(),
            }
        )

    def _watch(self, child: int, number: int, began: float) -> Any:
        """Why the program was ended from here: cpu, wall, a reason in words; None where it ended or the referee was done."""
        pidfd = os.pidfd_open(child)
        clock = ~child << 3 | 2  # the CPU clock of a process, as clock_getcpuclockid(3) numbers it
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.register(self._referee, select.POLLIN)
            while True:
                ready = dict(poll.poll(TICK * 1000))
                if pidfd in ready:
                    return None
                if self._referee.fileno() in ready and self._told_to_end(number):
                    return None
                reason = self._over(clock, began)
                if reason:
                    return reason
        finally:
            os.close(pidfd)

    def _told_to_end(self, number: int) -> Any:
        message = self._referee.recv(5, socket.MSG_WAITALL)
        if not message:
            os._exit(0)
        return message == b"e" + HEADER.pack(number)

    def _over(self, clock: int, began: float) -> Any:
        used, passed = time.clock_gettime(clock), time.monotonic() - began
        if used >= self._limits["seconds"]:
            return "cpu"
        if (passed >= self._limits["wall"] and used < BUSY * passed) or passed >= self._limits["last"]:
            return "wall"
        if self._first and self._used() - self._inodes > INODES:
            return f"more than {INODES} files"
        return None

    def _reap(self, child: int) -> Any:
        """Kills everything but this process; (status, resources used) of the child."""
        self._kill(child)
        found = os.wait4(child, 0)[1:]
        while self._first:
            try:
                # orphans of the program come to process 1; one may have forked between two kills
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
                self._kill(child)
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        return found

    def _kill(self, child: int) -> None:
        try:
            if self._first:
                os.kill(-1, signal.SIGKILL)
            else:
                os.killpg(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            if not self._first:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    def _output(self) -> Any:
        size = os.fstat(self._printed).st_size
        kept = os.pread(self._printed, self._limits["output"], 0) if size else b""
        if size:
            os.ftruncate(self._printed, 0)
        return {"printed": kept.decode("utf-8", "replace"), "cut": size - len(kept)}

    def _used(self) -> Any:
        found = os.statvfs(self._files)
        return found.f_files - found.f_ffree

    def _play(self, descriptor: int) -> None:
        """In the child: limits, descriptors, filter, then the program."""
        try:
            os.setpgid(0, 0)
            channel = 3
            os.dup2(self._null, 0)
            os.dup2(self._printed, 1)
            os.dup2(self._null, 2)
            if descriptor != channel:
                os.dup2(descriptor, channel)
            os.closerange(4, 1 << 20)
            # the watch is finer and goes by the clock of the first process; this holds for each
            seconds = int(self._limits["seconds"]) + 2
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
            if not self._first:
                check(LIBC.prctl(SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
            gc.enable()
            if self._alone:
                self._filter.install()
            del sys.path[0]
            play(Channel(channel), self._names)
        finally:
            os._exit(70)

    def prepare(self) -> None:
        """Makes what every program needs, once: the module that it fills."""
        self._names = shared.module()

    def bound(self) -> None:
        """The limits that process 1 can have as well; its children inherit them."""
        limits = self._limits
        bounds = {
            resource.RLIMIT_AS: limits["memory"],
            resource.RLIMIT_FSIZE: limits["files"],
            resource.RLIMIT_NOFILE: limits["open_files"],
        }
        bounds.update({resource.RLIMIT_CORE: 0, resource.RLIMIT_MEMLOCK: 0, resource.RLIMIT_MSGQUEUE: 0})
        if self._first:
            # with this process; outside a jail it would count everything of the user's
            bounds[resource.RLIMIT_NPROC] = 1 + (limits["threads"] if self._alone else limits["processes"])
        for limit, value in bounds.items():
            resource.setrlimit(limit, (value, value))


def warm() -> None:
    """Runs the path of a program here, so that the interpreter has specialised it before the memory is shared with children."""
    for _ in range(30):
        names = {"__name__": "warm"}
        exec(compile("def f(a):\n    return [a, 1.5, 'x']\n", "<warm>", "exec", dont_inherit=True), names)  # noqa: S102 - a constant
        link = Link(None, names, ())
        request = json.loads(framed(["call", [{"y": link.number(names["f"])}, [1, 2]], []])[4:])
        framed(link.do(*request))


def main(argument: str) -> None:
    """Becomes who it must be, then serves."""
    settings = json.loads(argument)
    become(settings["uid"])
    zygote = Zygote(settings)
    zygote.bound()
    zygote.prepare()
    Filter(bytes.fromhex(settings["filter"])).install()
    warm()
    random.seed(0)  # a program that draws gets the same verdict twice
    gc.collect()
    gc.freeze()
    gc.disable()
    zygote.serve()
