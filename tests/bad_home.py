"""Broken experiments beside a finished one, and the proof that a failed command changed nothing."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from typer.testing import Result

import loop_home
from engine.lake import Lake

SPEC = loop_home.YAML.replace("experiment: loop", "experiment: bad").replace("rounds: 3", "rounds: 2")


@dataclass
class Bench:
    """The home of one test."""

    home: Path

    def __post_init__(self) -> None:
        self.spec.write_text(SPEC)
        self.lake = Lake(str(self.home / "lake"))

    @property
    def spec(self) -> Path:
        """The YAML of the experiment `bad`."""
        return self.home / "experiments" / "bad.yaml"

    @property
    def data(self) -> Path:
        """The folder of its data files."""
        return self.home / "experiments" / "data"

    def edit(self, old: str, new: str) -> None:
        """Replaces a text of the spec that stands in it once."""
        text = self.spec.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        self.spec.write_text(text.replace(old, new))

    def lines(self, name: str) -> list[str]:
        """The lines of a data file."""
        return (self.data / name).read_text().splitlines()

    def put(self, name: str, *rows: str | dict[str, object], more: bool = False) -> None:
        """Writes (or adds) lines to a data file; dicts as JSON."""
        old = self.lines(name) if more else []
        new = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (self.data / name).write_text("".join(line + "\n" for line in [*old, *new]))

    def snapshot(self) -> dict[str, tuple[int, int]]:
        """Size and time of every file of lake and checkpoints; a new version of a table is a new file of its log."""
        found = {}
        for folder in ("lake", "checkpoints"):
            for above, _, names in os.walk(self.home / folder):
                for name in names:
                    stat = os.lstat(path := f"{above}/{name}")
                    found[path] = (stat.st_size, stat.st_mtime_ns)
        return found


def message(result: Result, code: int) -> str:
    """What a failed command said on standard error: no traceback, not only an exit code. Fails for another exit code."""
    said = result.stderr
    assert result.exit_code == code, (result.exit_code, said, result.stdout)
    assert said.strip() and "Traceback" not in said + result.stdout
    return re.sub(r"\x1b\[[0-9;]*m", "", said)
