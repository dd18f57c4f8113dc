"""What a disk says when it does not take a file: the error numbers, and the libraries' own errors for the same."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import ModelError

# full, read-only, no right, quota used up, file too large, a file where a folder is needed, broken hardware
REFUSED = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.EFBIG, errno.ENOTDIR, errno.EIO)
TORCH = ("iostream error", "inline_container", "PytorchStreamWriter")  # torch.save raises RuntimeError
HINT = "free space or rights, then run again"


def refused(error: OSError) -> str | None:
    """The place and the reason in one line where the disk refused a file; None for any other error."""
    if error.errno not in REFUSED:
        return None
    return f"{error.filename or 'disk'}: {os.strerror(error.errno)}"


@contextmanager
def writing(what: str, place: Path) -> Iterator[None]:
    """ModelError, naming `what` and `place`, where a model library cannot write; other errors pass."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot write {what}: {error}", where=str(place), hint=HINT) from error
    except RuntimeError as error:
        if not any(mark in str(error) for mark in TORCH):
            raise
        raise ModelError(f"cannot write {what}: {error}", where=str(place), hint=HINT) from error


def barred(folder: Path) -> str | None:
    """Why nothing can be written into a folder that exists; None where it can be."""
    if os.access(folder, os.W_OK):
        return None
    return os.strerror(errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES)
