"""A small context for measures that read answers: tiny models on disk, rollouts as a measure gets them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import models
from engine.ids import digest
from engine.promotion import Decision
from engine.score.measures import Measure, make
from engine.spec import Measure as Entry
from engine.spec import Spec
from engine.step import Device, Model
from engine.tables import CHAT
from generate_tiny import CPU, Notes, spec

TEXTS = [("one?", "yes 12"), ("one?", "no"), ("two and two?", "4"), ("two and two?", "four. " * 7), ("abc", ""), ("abc", "cba")]


@dataclass
class ReadContext:
    """As much of engine.step.Context as measures use; `folders` are the models by name."""

    folder: Path
    folders: dict[str, Path]
    spec: Spec = field(default_factory=spec)
    round: int = 0
    device: Device = CPU
    progress: Notes = field(default_factory=Notes)
    promoted: list[Decision] = field(default_factory=list)

    @property
    def spec_path(self) -> Path:
        return self.folder / "spec.yaml"

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    def model(self, which: str, role: str = "policy") -> Model:
        return Model(models.digest(self.folders[which]), self.folders[which])

    def decisions(self) -> list[Decision]:
        return self.promoted


def rollouts(texts: list[tuple[str, str]]) -> pa.Table:
    """Rows as `Measure.measure` gets them, in order of their ids."""
    rows = [
        {"generation_id": f"g{i:03d}", "prompt_id": digest(ask), "response": answer, "messages": [{"role": "user", "content": ask}]}
        for i, (ask, answer) in enumerate(texts)
    ]
    kinds = [("generation_id", pa.string()), ("prompt_id", pa.string()), ("response", pa.string()), ("messages", CHAT)]
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds))


def measure(name: str, **params: Any) -> Measure:
    """The measure of that name."""
    return make(Entry(method=name, name="m", params=params))


def values(made: dict[str, pa.Table], suffix: str = "") -> list[float | None]:
    """The values of one column, in order of the items."""
    table = made[suffix].sort_by("item_id")
    return table["value"].to_pylist()
