"""Who a process in the jail is: shared by everything that starts in one. Standard library only, as all files here."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
SET_PDEATHSIG, SET_DUMPABLE, SET_NO_NEW_PRIVS, SET_SECCOMP, MODE_FILTER = 1, 4, 38, 22, 2


def become(uid: int) -> None:
    """Takes an unprivileged uid and gid where the jail was set up by root; -1 leaves it."""
    if uid >= 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    # process 1 gets no signal from inside but those that it handles, and Python handles this one
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # nobody of the same uid may trace this process or read its memory
    check(LIBC.prctl(SET_DUMPABLE, 0, 0, 0, 0))
    check(LIBC.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def leash(life: int) -> None:
    """Ends this process, busy or not, when the other end of the pipe `life` closes: the host holds it and never writes.

    Bubblewrap's own way, a signal at its parent's death, may not reach a process that has changed its uid. Only for where no
    code of an answer runs: that could send the signal itself. The player's process 1 waits on a socket and sees the end there.
    """
    # called by the kernel, not by the interpreter: a test may be in a loop that never comes back to it
    LIBC.signal(signal.SIGIO, ctypes.cast(LIBC._exit, ctypes.c_void_p))
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:
        os._exit(1)


def check(result: int) -> None:
    """OSError where a call of the C library failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Filter:
    """A system call filter, laid out once so that a fresh child only has to hand it to the kernel."""

    def __init__(self, text: bytes) -> None:
        self._text = ctypes.create_string_buffer(text, len(text))
        # struct sock_fprog: the number of instructions, then (aligned) where they are
        self._program = ctypes.create_string_buffer(struct.pack("@HP", len(text) // 8, ctypes.addressof(self._text)))

    def install(self) -> None:
        """Puts it on this process for good."""
        check(LIBC.prctl(SET_SECCOMP, MODE_FILTER, self._program, 0, 0))
