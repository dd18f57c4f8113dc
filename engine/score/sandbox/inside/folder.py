"""Empties the folder in which programs may write."""

from __future__ import annotations

import os
import shutil
from typing import Any


def empty(path: str) -> None:
    """Removes what is in a folder. OSError or RecursionError where that cannot be done, which is to end the jail."""
    with os.scandir(path) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            os.chmod(entry.path, 0o700)
            shutil.rmtree(entry.path, onerror=_opened)
        else:
            os.unlink(entry.path)


def _opened(function: Any, path: str, error: Any) -> None:
    """Second try for what a program made unreadable; what cannot be removed ends this process, and the jail with it."""
    os.chmod(os.path.dirname(path), 0o700)
    os.chmod(path, 0o700)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
