"""One worker of the sandbox as the host sees it: two processes, a referee and a player, and the socket to the referee."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Any

from engine.errors import StepError
from engine.score.sandbox import Limits, filters, jail

HEADER = struct.Struct("=I")
START = 60.0  # seconds for a worker to start on a busy machine
REFEREE_MEMORY = 1 << 30  # bytes of address space
LARGEST = 16 << 20  # bytes of a message from a referee
PIECE = 1 << 18


class Worker:
    """Starts at once, is ready when it says so. `outstanding` are the programs it has, in the order in which it runs them."""

    def __init__(self, way: str | None, limits: Limits) -> None:
        self._limits, self._buffer, self._unsent = limits, b"", b""
        self.outstanding: deque[int] = deque()
        self.served, self.ready, self.since = 0, False, time.monotonic()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self.socket, host = socket.socketpair()
        referee, player = socket.socketpair()
        # ends the referee, and with it the player, when the host's end closes, however that comes about
        life, self._life = os.pipe()
        self._processes: list[subprocess.Popen[bytes]] = []
        told = {**asdict(limits), "wall": limits.wall, "last": limits.last}
        judge = {"host": host.fileno(), "player": referee.fileno(), "life": life, "referee": REFEREE_MEMORY}
        play = {"referee": player.fileno(), "filter": filters.player().hex(), "alone": filters.alone().hex()}
        try:
            for script, ends, own in (("referee", [host.fileno(), referee.fileno(), life], judge), ("zygote", [player.fileno()], play)):
                line = json.dumps({"uid": jail.identity(way), "limits": told, **own})
                self._processes.append(self._started(way, script, line, ends))
        except BaseException:
            self.close()
            raise
        finally:
            os.close(life)
            for end in (host, referee, player):
                end.close()
        self.socket.setblocking(False)

    def _started(self, way: str | None, script: str, argument: str, passed: list[int]) -> subprocess.Popen[bytes]:
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": self._errors}
        if way is None:
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="rondo-")
            line = jail.python(str(jail.INSIDE.parent), script, argument)
            home = {**jail.environment(), "HOME": self._folder.name}
            return subprocess.Popen(line, cwd=self._folder.name, env=home, pass_fds=passed, start_new_session=True, **quiet)
        text = jail.filter_descriptor(filters.jail())
        try:
            line = jail.command(way, self._limits.files, text, script, argument)
            return subprocess.Popen(line, env={}, pass_fds=[*passed, text], **quiet)
        finally:
            os.close(text)

    def pids(self) -> list[int]:
        """The processes of this worker as the host numbers them: referee, player (each the bwrap around it)."""
        return [process.pid for process in self._processes]

    def give(self, index: int, work: dict[str, Any]) -> None:
        """Queues a program; the bytes go out with `write`."""
        if not self.outstanding:
            self.since = time.monotonic()
        body = json.dumps({"id": index, **work}, separators=(",", ":")).encode()
        self._unsent += HEADER.pack(len(body)) + body
        self.outstanding.append(index)

    @property
    def writing(self) -> bool:
        """Whether bytes wait to go out."""
        return bool(self._unsent)

    def write(self) -> None:
        """Sends what the socket takes. OSError where the worker is gone."""
        with contextlib.suppress(BlockingIOError):
            self._unsent = self._unsent[self.socket.send(self._unsent) :]

    def read(self) -> Iterator[dict[str, Any]]:
        """The outcomes that have come. EOFError where the worker is gone or says what is no outcome."""
        try:
            piece = self.socket.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            raise EOFError
        self._buffer += piece
        while len(self._buffer) >= 4:
            (size,) = HEADER.unpack_from(self._buffer)
            if size > LARGEST:
                raise EOFError
            if len(self._buffer) < 4 + size:
                return
            body, self._buffer = self._buffer[4 : 4 + size], self._buffer[4 + size :]
            self.since = time.monotonic()
            message = json.loads(body)
            if "ready" in message:
                self.ready = True
                continue
            if not self.outstanding or message["id"] != self.outstanding[0]:
                raise EOFError
            self.outstanding.popleft()
            self.served += 1
            yield message

    def fault(self) -> str:
        """What the worker's processes said last on stderr."""
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 2000))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def check_start(self) -> None:
        """StepError where a worker that is gone had never been ready."""
        if not self.ready:
            raise StepError(f"a worker of the sandbox did not start: {self.fault()}", hint=f"if it is the jail: {jail.INSTALL}")

    def close(self) -> None:
        """Kills both processes, and with process 1 of each jail everything in it; waits until they are gone."""
        self.socket.close()
        if self._life >= 0:
            os.close(self._life)
            self._life = -1
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                if self._folder is not None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
        for process in self._processes:
            process.wait()
        self._processes = []
        self._errors.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
