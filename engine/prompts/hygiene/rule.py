"""What a rule of hygiene is: rows and its settings in, the rows that go out, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.prompts.build import Row
from engine.step import Device, Progress

__all__ = ["Drop", "Row", "Scene"]


@dataclass(frozen=True)
class Drop:
    """A row that goes: its place in the rows that the rule was given, and what stands in `prompts_dropped`."""

    index: int
    reason: str
    value: float | None = None
    twin_id: str | None = None
    suite: str | None = None


@dataclass
class Scene:
    """What a rule may use beside rows and settings. `held`: prompts of the splits gate and test by split. `detail`: what a rule says
    about the whole pool, for the ledger."""

    seed: int
    spec_path: Path
    progress: Progress
    device: Device | None = None
    held: dict[str, list[Row]] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)
