"""A Python whose `vllm` is the stand-in of tests/generate/vllm/standin: for tests of everything around vLLM."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent / "generate" / "vllm" / "standin"


def interpreter(folder: Path, name: str = "python-with-vllm", **behaviour: Any) -> str:
    """Writes the interpreter into `folder`; what it is asked goes to `calls(folder)`.

    `behaviour`: start_seconds, step_seconds; die, hang: lists of answers after which the first, second, ... process does so; words:
    an error at the start; refuse: a token that no prompt may have; helper: true where it starts a process of its own.
    """
    how = json.dumps({"calls": str(folder / "calls.jsonl")} | behaviour)
    path = folder / name
    path.write_text(f'#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(PACKAGE))} STANDIN={shlex.quote(how)}\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return str(path)


def calls(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """What stand-ins were asked, in order; of one kind: start, prompt or end."""
    file = folder / "calls.jsonl"
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [call for call in found if kind is None or kind in call]


def gone(pid: int, seconds: float = 60.0) -> bool:
    """Whether a process ends (a zombie has) within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def alive(pid: int) -> bool:
    """Whether a process is there."""
    return os.path.exists(f"/proc/{pid}") and not gone(pid, 0.05)
