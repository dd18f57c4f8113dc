"""Device, threads, dtype and attention: resolved once per experiment and kept in the ledger, so that a resumed run computes alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine import attention
from engine.errors import SpecError
from engine.spec import Compute

ROOT = Path("/")


def requested(compute: Compute) -> dict[str, Any]:
    """What of the spec the resolution follows. `attention` is in it only where the spec decides it: an experiment from before there
    was that field keeps the device that it has."""
    fields = {"device", "threads", "dtype"} | ({"attention"} if compute.attention != attention.AUTO else set())
    return compute.model_dump(include=fields)


def resolve(compute: Compute) -> dict[str, Any]:
    """{device, threads, dtype} with every `auto` decided, and attention where it is not transformers' own choice.

    SpecError for a GPU that torch does not see, and for flash attention where it cannot work.
    """
    device = compute.device
    if device != "cpu":
        import torch

        if device == "auto":
            device = "cuda:0" if torch.cuda.is_available() else "cpu"
        elif int(device.partition(":")[2] or 0) >= torch.cuda.device_count():
            found = f"{torch.cuda.device_count()} GPUs" if torch.cuda.device_count() else "no GPU"
            text = f"compute.device: {device!r} was asked for, but torch {torch.__version__} sees {found}"
            raise SpecError(text, hint="device: auto or cpu")
    dtype = compute.dtype
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else "bfloat16"
    threads = free_cores() if compute.threads == "auto" else compute.threads
    found = _attention(compute.attention, device, dtype)
    return {"device": device, "threads": threads, "dtype": dtype} | ({"attention": found} if found != attention.AUTO else {})


def _attention(asked: str, device: str, dtype: str) -> str:
    """What models are asked for: the spec's word, `auto`, or `auto:flash_attention_2` where that can work."""
    if asked == attention.AUTO:
        return attention.AUTO if attention.no_flash(device, dtype) else attention.AUTO_FLASH
    if asked == attention.FLASH and (why := attention.no_flash(device, dtype)):
        raise SpecError(f"compute.attention: {asked} cannot work on {device}: {why}", hint="attention: auto or sdpa")
    return asked


def free_cores(root: Path = ROOT) -> int:
    """Cores that torch may keep busy: those that this process may run on and that its cgroups grant, and no more than the machine
    had idle in the last minute; at least one."""
    machine = os.cpu_count() or 1
    # other systems than Linux know no affinity
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    granted = [int(cores) for cores in quotas(root)]
    # the load is that of the whole machine, also inside a container
    return max(1, min(own, round(machine - os.getloadavg()[0]), *granted))


def quotas(root: Path = ROOT) -> Iterator[float]:
    """CPU quotas, in cores, of the cgroups (version 2 and 1) that this process is in, outermost last; none where none is set.

    `root` is the folder that holds proc and sys. A container may see its own cgroup at the top of the tree instead of at the path
    that the kernel names, so every folder on that path is read, as far as it is there.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux, or /proc is not mounted
        return
    tree = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for top in (tree / controllers, tree / "cpu") if controllers else (tree, tree / "unified"):
            own = top / path.lstrip("/")
            for folder in (own, *own.parents):
                if folder.is_relative_to(top) and (found := _quota(folder)) is not None:
                    yield found


def _quota(folder: Path) -> float | None:
    """The quota of one cgroup in cores; None where it has none."""
    try:
        if (folder / "cpu.max").is_file():  # version 2
            quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8").strip() for name in ("quota", "period"))
    except OSError:  # a cgroup without the controller
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
