"""Whether processes are there, and whether they end."""

import os
import time
from pathlib import Path


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
