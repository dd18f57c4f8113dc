"""A Python whose `vllm` is the stand-in of tests/generate/vllm/standin: for tests of everything around vLLM."""

from __future__ import annotations

import json
import shlex
import sys
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
