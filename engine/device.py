"""Device, threads and dtype: resolved once per experiment and kept in the ledger, so that a resumed run computes alike."""

from __future__ import annotations

import os
from typing import Any

from engine.errors import SpecError
from engine.spec import Compute


def resolve(compute: Compute) -> dict[str, Any]:
    """{device, threads, dtype} with every `auto` decided. SpecError for a GPU that torch does not see."""
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
    return {"device": device, "threads": threads, "dtype": dtype}


def free_cores() -> int:
    """Cores of this process less those that were busy in the last minute, at least one."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, round(cores - os.getloadavg()[0])))
