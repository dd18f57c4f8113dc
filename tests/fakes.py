"""A step context without a lake: parts by reference, a journal folder, silent progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.ids import content_id
from engine.lake import Lake
from engine.spec import Spec
from engine.step import Ref, Silent
from engine.tables import TABLES, check


def spec_of(**parts: Any) -> Spec:
    """A spec with the smallest settings that are allowed, and `parts` over them."""
    base = {
        "experiment": "e",
        "models": {"policy": "m"},
        "prompts": {"train": "train.jsonl"},
        "select": {"sql": "select/raft.sql"},
        "train": [{"init": "previous", "reference": "none", "data": "round"}],
    }
    return Spec.model_validate(base | parts)


@dataclass
class FakeContext:
    """What a step may touch, with `tables` as the lake."""

    spec: Spec
    folder: Path
    round: int = 0
    tables: dict[Ref, pa.Table] = field(default_factory=dict)
    progress: Silent = field(default_factory=Silent)

    @property
    def spec_path(self) -> Path:
        return self.folder / "spec.yaml"

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def lake(self) -> Lake:
        """A real one, empty until a test fills it."""
        return Lake(str(self.folder / "lake"))

    def read(self, ref: Ref, columns: Any = None) -> pa.Table:
        """The rows put at `ref`, or none."""
        table = self.tables.get(ref, TABLES[ref.table].columns.empty_table())
        return table.select(list(columns)) if columns else table


def prompts_table(references: dict[str, str]) -> pa.Table:
    """Prompts that ask for their own id, by id with their references."""
    rows = [{"prompt_id": p, "split": "train", "messages": [{"role": "user", "content": p}], "reference": r} for p, r in references.items()]
    return check("prompts", pa.Table.from_pylist(rows))


def generations(answers: list[tuple[str, str]]) -> pa.Table:
    """Rollouts g0, g1, ... as (prompt_id, text)."""
    rows = [
        {
            "generation_id": f"g{i}",
            "content_id": content_id(text),
            "prompt_id": prompt,
            "sample": i,
            "turn": 0,
            "depth": 0,
            "is_terminal": True,
            "actor": "policy",
            "model": "m",
            "response": text,
            "finish_reason": "stop",
        }
        for i, (prompt, text) in enumerate(answers)
    ]
    return check("generations", pa.Table.from_pylist(rows))
