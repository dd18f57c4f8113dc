"""The jail's command line: what a process inside bubblewrap sees, and whether this machine can have one.

Two ways. Where Rondo runs as root, the jail is set up by root and the process inside changes to an uid that nobody has:
a user namespace of root's own would leave it root's uid in the kernel's eyes, which owns /proc/sys and which no limit of
processes binds. Elsewhere a user namespace gives the rights to set it up, and is closed to more of them.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from engine.errors import StepError
from engine.score.sandbox import filters

INSIDE = Path(__file__).parent / "inside"  # the only part of Rondo that a jail sees
MOUNTED = "/rondo"
FIRST_UID = 1_900_000_000  # above every range that distributions, containers and systemd hand out
UIDS = 1 << 27
INSTALL = "install it with `apt-get install bubblewrap` (0.8 or newer), and allow user namespaces where Rondo does not run as root"
TINY = 1 << 20
_STARTED = itertools.count()


def interpreter() -> str:
    """The Python that runs inside: the one of this process, without its virtual environment."""
    return os.path.realpath(sys.executable)


def environment() -> dict[str, str]:
    """All that a process inside finds in its environment; a fixed hash seed keeps the order of sets the same."""
    return {"PATH": "/nowhere", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "TZ": "UTC"}


def python(folder: str, script: str, argument: str) -> list[str]:
    """The command of a script of the package `inside` of a folder: no site packages, no user site, no working directory."""
    start = f"import sys; sys.path.insert(0, {folder!r}); from inside.{script} import main; main(sys.argv[1])"
    return [interpreter(), "-S", "-s", "-P", "-B", "-W", "ignore", "-c", start, argument]


def command(way: str, files: int, seccomp: int, script: str, argument: str) -> list[str]:
    """bwrap's command line for one process in a jail of its own.

    `files` is the size of /tmp in bytes, `seccomp` a descriptor to read the filter from. The process is number 1 of its pid
    namespace: no signal from inside ends it, orphans come to it, and with it everything inside ends.
    """
    line = [_bwrap(), "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    line += ["--hostname", "jail", "--clearenv", "--new-session", "--die-with-parent", "--as-pid-1", "--cap-drop", "ALL"]
    if way == "user":
        line += ["--unshare-user", "--disable-userns", "--uid", "65534", "--gid", "65534"]
    else:
        line += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    for name, value in environment().items():
        line += ["--setenv", name, value]
    line += _folders()
    line += ["--perms", "1777", "--size", str(files), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"]
    return [*line, "--seccomp", str(seccomp), "--", *python(MOUNTED, script, argument)]


def _folders() -> list[str]:
    """The read-only tree: the interpreter, the system libraries and four devices, under folders that everybody may enter."""
    prefix = os.path.realpath(sys.base_prefix)
    shown = ["/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/share/zoneinfo"]
    # an interpreter of the system: its libraries are in /usr/lib, of /usr/bin it needs one file
    shown.append(interpreter() if prefix == "/usr" else prefix)
    line: list[str] = []
    made: set[str] = {"/"}

    def parents(path: str) -> None:
        for folder in reversed(Path(path).parents):
            if str(folder) not in made:
                made.add(str(folder))
                line.extend(["--perms", "0755", "--dir", str(folder)])

    for path in shown:
        if os.path.exists(path):
            parents(path)
            line += ["--ro-bind", path, path]
    for path in ("/lib", "/lib32", "/lib64"):
        if os.path.islink(path):
            line += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            line += ["--ro-bind", path, path]
    parents("/dev/null")
    for name in ("null", "zero", "random", "urandom"):
        line += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    return [*line, "--ro-bind", str(INSIDE), f"{MOUNTED}/inside"]


def _bwrap() -> str:
    found = shutil.which("bwrap")
    if found is None:
        raise StepError("model-written code needs a jail, and bubblewrap (`bwrap`) is not installed", hint=INSTALL)
    return found


def filter_descriptor(text: bytes) -> int:
    """A descriptor to read the filter from; the caller closes it."""
    reader, writer = os.pipe()
    os.write(writer, text)
    os.close(writer)
    return reader


@lru_cache(maxsize=1)
def probe() -> str:
    """The way in which this machine can have a jail: `uid` or `user`. StepError with what to install or allow if none works."""
    version = subprocess.run([_bwrap(), "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
    numbers = re.search(r"(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < (0, 8):
        raise StepError(f"model-written code needs bubblewrap 0.8 or newer, found {version.strip()!r}", hint=INSTALL)
    told = ""
    for way in ("uid", "user") if os.geteuid() == 0 else ("user",):
        told = _fault(way)
        if not told:
            return way
    raise StepError(f"no jail can be had here: {told}", hint=INSTALL)


def _fault(way: str) -> str:
    """Why a jail of this way does not start; empty where it does."""
    filter_ = filter_descriptor(filters.jail())
    with tempfile.TemporaryFile() as errors:
        try:
            line = command(way, TINY, filter_, "probe", str(identity(way)))
            ended = subprocess.run(
                line,
                pass_fds=[filter_],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={},
                timeout=60,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "bubblewrap did not end within 60 s"
        finally:
            os.close(filter_)
        errors.seek(0)
        message = errors.read().decode(errors="replace").strip().splitlines()
    if ended.returncode == 0:
        return ""
    return message[-1] if message else f"bubblewrap ended with status {ended.returncode}"


def identity(way: str | None) -> int:
    """The uid that a process inside takes, -1 for none. No two processes of this machine share one.

    The kernel counts a limit of processes by uid, so a shared one would let one jail's programs starve another's.
    """
    if way != "uid":
        return -1
    highest = max((int(inside) + int(count) for inside, _, count in _map()), default=1 << 32)
    first, uids = (FIRST_UID, UIDS) if highest >= FIRST_UID + UIDS else (highest // 2, highest // 4)
    return first + (os.getpid() * 2048 + next(_STARTED) % 2048) % uids


def _map() -> list[list[str]]:
    """The lines of this process's uid map: within a container only some uids exist."""
    return [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
