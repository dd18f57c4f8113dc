"""The steps of the cluster room."""

from __future__ import annotations

from pathlib import Path

from engine.spec import Spec
from engine.step import Step


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """The room's steps."""
    return []
