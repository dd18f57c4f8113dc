"""Locks go with their process and refuse a second holder."""

import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import LockError
from engine.locks import Lock

HOLD = """
import sys
from pathlib import Path
from engine.locks import Lock
with Lock(Path(sys.argv[1]), "demo", "theirs"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_held_lock_refuses_and_names_its_holder_until_the_holder_dies(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(LockError, match=str(holder.pid)), Lock(tmp_path, "demo", "mine"):
        pass
    holder.kill()
    holder.wait()
    with Lock(tmp_path, "demo", "mine") as lock:
        lock.check()


def test_an_attempt_whose_lock_was_taken_away_cannot_commit(tmp_path: Path) -> None:
    with Lock(tmp_path, "demo", "old") as old:
        old.path.unlink()
        with Lock(tmp_path, "demo", "new") as new:
            new.check()
            with pytest.raises(LockError, match="no longer holds"):
                old.check()
