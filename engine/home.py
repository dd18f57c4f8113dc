"""The home: one folder that holds everything a run makes (`RONDO_HOME`, default ./rondo-home)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """Paths below the home folder. Removing the folder removes the run."""

    root: Path

    @classmethod
    def find(cls, root: str | Path | None = None) -> Home:
        """The home given, or named by RONDO_HOME, or ./rondo-home; made absolute, not created."""
        return cls(Path(root or os.environ.get("RONDO_HOME") or "rondo-home").absolute())

    @property
    def experiments(self) -> Path:
        """YAML files, found by experiment name."""
        return self.root / "experiments"

    @property
    def lake(self) -> str:
        """Folder or object-store URI of the tables; RONDO_LAKE names another place than <home>/lake."""
        return os.environ.get("RONDO_LAKE") or str(self.root / "lake")

    @property
    def checkpoints(self) -> Path:
        """Model folders, one a checkpoint digest."""
        return self.root / "checkpoints"

    @property
    def journal(self) -> Path:
        """Finished batches and trainer states of steps that are not done yet."""
        return self.root / "journal"

    @property
    def logs(self) -> Path:
        """What engines printed when they were last started, a folder an experiment."""
        return self.root / "logs"

    @property
    def locks(self) -> Path:
        """One lock file an experiment and device."""
        return self.root / "locks"

    @property
    def dagster(self) -> Path:
        """The Dagster instance."""
        return self.root / "dagster"
