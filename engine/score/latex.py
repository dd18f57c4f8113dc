"""LaTeX comparison that cannot hang: one persistent child process with a clock; late ones are killed and replaced."""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.errors import StepError

WORKER = Path(__file__).with_name("latex_worker.py")
START = 180.0  # seconds for a child to import sympy on a busy machine


class Comparer:
    """Compares answers with references by math-verify; started at the first comparison."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._child: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    def compare(self, reference: str, response: str) -> tuple[str, str | None]:
        """(verdict, detail); the verdict is `timeout` when the child takes longer than `timeout` seconds, or dies on the row."""
        child = self._child if self._child and self._child.poll() is None else self._start()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps([reference, response]).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            self.close()
            return "error", "the comparison ended its process"
        answer = self._line(child, self.timeout)
        if answer is None:
            died = child.poll() is not None
            self.close()
            return ("error", "the comparison ended its process") if died else ("timeout", f"no result after {self.timeout:g} s")
        verdict, detail = json.loads(answer)
        return verdict, detail

    def close(self) -> None:
        """Kills the child, if there is one."""
        child, self._child, self._buffer = self._child, None, b""
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                # what was written last is not wanted any more
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()  # type: ignore[union-attr]

    def __del__(self) -> None:
        self.close()

    def _start(self) -> subprocess.Popen[bytes]:
        self.close()
        with tempfile.TemporaryFile() as errors:
            # -P keeps this folder, which has a math.py, out of the child's import path
            command = [sys.executable, "-P", str(WORKER), str(math.ceil(self.timeout) + 5)]
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
            self._child = child
            if self._line(child, START) is None:
                self.close()
                errors.seek(0)
                told = errors.read().decode(errors="replace").strip().splitlines()
                raise StepError(
                    f"the math-verify process did not start: {told[-1] if told else 'no message'}",
                    hint="try `python -c 'import math_verify'`",
                )
        return child

    def _line(self, child: subprocess.Popen[bytes], seconds: float) -> bytes | None:
        assert child.stdout is not None
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, end - time.monotonic())):
                    return None
                piece = os.read(child.stdout.fileno(), 65536)
                if not piece:
                    child.wait()
                    return None
                self._buffer += piece
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line
