"""The machine and the packages: what a bug report needs, and nothing that identifies a person."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from engine import __version__
from engine.home import Home
from engine.report.grid import size


def facts(home: Home) -> dict[str, Any]:
    """Versions, cores, memory, disk, home and lake, and the device that torch would use (loads torch)."""
    import shutil

    place = next(path for path in (home.root, *home.root.parents) if path.exists())
    return {
        "rondo": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}, load {os.getloadavg()[0]:.2f}",
        "memory": _memory(),
        "disk free": size(shutil.disk_usage(place).free),
        "home": str(home.root),
        "lake": home.lake,
        "torch device": _device(),
        "packages": packages(),
    }


def packages() -> dict[str, str]:
    """Installed versions of what Rondo declares that it needs."""
    try:
        declared = requires("rondo") or []
    except PackageNotFoundError:
        declared = _declared(Path(__file__).parents[2] / "pyproject.toml")
    found = {}
    for text in declared:
        if "extra ==" in text:
            continue
        name = re.split(r"[^A-Za-z0-9_.-]", text, maxsplit=1)[0]
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return dict(sorted(found.items()))


def _declared(path: Path) -> list[str]:
    """Dependencies as the source tree has them, where Rondo runs without being installed."""
    import tomllib

    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"] if path.is_file() else []


def _memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    bound = limit.read_text().strip() if limit.is_file() else "max"
    return size(total) if bound == "max" else f"{size(min(total, int(bound)))} (limit of this container)"


def _device() -> str:
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported ({error}); python is {sys.executable}"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return "; ".join(f"cuda:{i} {one.name}, {size(one.total_memory)}" for i, one in enumerate(names))
    return "cpu"
