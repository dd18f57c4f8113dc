"""Operating-system locks: one driver for an experiment, one user of a device. A lock goes when its process dies."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import time
from pathlib import Path
from types import TracebackType

from engine.errors import LockError


class Lock:
    """An exclusive `flock` on <folder>/<name>.lock. As a context manager it waits up to `wait` seconds (0: not at all)."""

    def __init__(self, folder: Path, name: str, attempt: str, wait: float = 0.0) -> None:
        self.path = folder / f"{re.sub(r'[^a-z0-9_-]', '-', name)}.lock"
        self.name, self.attempt, self.wait = name, attempt, wait
        self._file: int | None = None

    def __enter__(self) -> Lock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + self.wait
        while True:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = self.path.read_text() or "another process"
                os.close(self._file)
                self._file = None
                if time.monotonic() >= deadline:
                    raise LockError(
                        f"{self.name} is being driven by {holder}",
                        where=str(self.path),
                        hint="wait for it or stop it; a lock of a dead process frees itself",
                    ) from None
                time.sleep(0.1)
        os.ftruncate(self._file, 0)
        os.write(self._file, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "attempt": self.attempt}).encode())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def check(self) -> None:
        """Raises LockError unless this attempt still holds the lock (its file was not removed and taken by another)."""
        try:
            same = self._file is not None and os.fstat(self._file).st_ino == os.stat(self.path).st_ino
        except FileNotFoundError:
            same = False
        if not same:
            raise LockError(
                f"attempt {self.attempt} no longer holds the lock of {self.name}; nothing was committed",
                where=str(self.path),
                hint="another driver took over; look at `rondo status`",
            )
