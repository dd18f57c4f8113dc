"""JSON lines on disk as they come: after a crash everything is there but a line that it cut off.

A killed process loses nothing that was appended; a machine that loses power at most the last second.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from engine.errors import LakeError

SYNC = 1.0  # seconds between two writes that reach the disk itself
HINT = "remove this file, then run again"


class Lines:
    """A file of JSON objects. LakeError where the disk says no, or where a whole line is no JSON object."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None
        self._synced = 0.0

    def read(self) -> list[dict[str, Any]]:
        """Every whole line."""
        try:
            text = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise LakeError(f"cannot read the journal: {error}", where=str(self.path)) from error
        found = []
        for number, line in enumerate(text.split(b"\n")[:-1], 1):
            try:
                value = json.loads(line)
            except ValueError as error:
                raise LakeError(f"cannot read the journal: {error}", where=f"{self.path}:{number}", hint=HINT) from error
            if not isinstance(value, dict):
                raise LakeError(
                    f"cannot read the journal: expected an object, found {value!r:.60}", where=f"{self.path}:{number}", hint=HINT
                )
            found.append(value)
        return found

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Adds lines."""
        text = b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
        try:
            file, left = self._file or self._open(), memoryview(text)
            while left:
                left = left[file.write(left) :]
            if time.monotonic() - self._synced > SYNC:
                os.fsync(file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            self._close()  # what comes next begins behind the last whole line
            raise LakeError(f"cannot write the journal: {error}", where=str(self.path), hint="free space, then run again") from error

    def _open(self) -> FileIO:
        """The file behind its last whole line; without a buffer, which would fail once more where a full disk closes the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self._file = self.path.open("ab", buffering=0)
        file.truncate(self.path.read_bytes().rfind(b"\n") + 1)
        return file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()
