"""Backends `openai` against the scripted servers of tests/server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.generate import Backend, Job, backends, drive, params
from engine.spec import Sampler
from generate_tiny import CPU, Notes, prompts

COLUMNS = ["prompt_id", "messages"]


def backend(url: str, folder: Path, *, samples: int = 2, job: dict[str, Any] | None = None, sampler: Any = None, **own: Any) -> Backend:
    """One that asks the server at `url`; `own` are its settings, `sampler` and `job` fields of those."""
    chosen = params("openai", {"url": url, "model": "m", "backoff": 0.01} | own, "generate.params")
    how = Sampler(**{"max_tokens": 12} | (sampler or {}))
    given = {"params": chosen, "sampler": how, "samples": samples, "chat": None, "model": None, "device": CPU, "seed": 5, "round": 0}
    given |= {"step": "generations", "trust_remote_code": False, "spec_path": folder / "spec.yaml"}
    return backends.load("openai")(Job(**given | (job or {})))


def asks(n: int) -> pa.Table:
    """`n` prompts."""
    return prompts([f"say {i}" for i in range(n)]).select(COLUMNS)


def answered(one: Backend, rows: pa.Table, journal: Path) -> list[dict[str, Any]]:
    """Its answers through the driver, by prompt and number."""
    found = drive.answers(one, one.prepare(rows), batch=8, journal=journal, progress=Notes(), label="generations").to_pylist()
    return sorted(found, key=lambda row: (row["prompt_id"], row["sample"]))
