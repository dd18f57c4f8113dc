"""A real lake in a temporary folder and a Context over it: what a step sees, without a runner."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine import ids
from engine.lake import Lake
from engine.query import Session, Window
from engine.spec import Spec
from engine.step import BASE, Output, Ref, Silent
from engine.tables import TABLES


def spec(**parts: Any) -> Spec:
    """A small valid spec with `parts` in place of the defaults below."""
    values = {
        "experiment": "small",
        "seed": 7,
        "models": {"policy": "policy"},
        "prompts": {"train": "t.jsonl", "test": "t.jsonl", "gate": "g.jsonl"},
        "score": [{"verifier": "exact"}],
        "select": {"sql": "select/raft.sql"},
        "train": [{"init": "previous", "reference": "none", "data": "round"}],
    }
    return Spec.model_validate(values | parts)


@dataclass
class SmallLake:
    """Writes rows; unnamed columns get a value of their type, or null where the table allows it."""

    folder: Path
    experiment: str = "small"
    lake: Lake = field(init=False)

    def __post_init__(self) -> None:
        self.lake = Lake(str(self.folder / "lake"))

    def put(self, table: str, part: str, rows: list[dict[str, Any]], round_: int = 0, experiment: str | None = None) -> None:
        """Puts one part in place."""
        schema = TABLES[table].columns
        full = [{f.name: row.get(f.name, self._default(table, f)) for f in schema} for row in rows]
        data = pa.Table.from_pylist(full, schema=schema)
        self.lake.replace(table, data, experiment=experiment or self.experiment, round=round_, part=part)

    def _default(self, table: str, column: pa.Field) -> Any:
        if column.name in TABLES[table].nullable:
            return None
        if pa.types.is_string(column.type):
            return "{}" if column.name in ("ingredients", "inputs", "settings", "packages") else f"some {column.name}"
        if pa.types.is_boolean(column.type):
            return True
        return [] if pa.types.is_list(column.type) else 0

    def prompts(self, names: list[str], part: str = "train", round_: int = 0, topics: dict[str, str] | None = None) -> None:
        """Prompts whose id is their name."""
        rows = [
            {
                "prompt_id": n,
                "split": part,
                "messages": [{"role": "user", "content": f"ask {n}"}],
                "reference": "1",
                "topic": (topics or {}).get(n),
            }
            for n in names
        ]
        self.put("prompts", part, rows, round_)

    def answers(
        self, rows: list[tuple[str, str, float | None]], part: str = "rollout", round_: int = 0, scorer: str = "exact", **more: Any
    ) -> None:
        """Answers (prompt, response, score), sampled in the given order, with ids like p1-0, and their scores."""
        seen: dict[str, int] = {}
        generations, scores = [], []
        for prompt, response, score in rows:
            sample = seen[prompt] = seen.get(prompt, -1) + 1
            name = f"{prompt}-{sample}" if part == "rollout" else f"{prompt}-{part}-{sample}"
            name += f"-r{round_}" if round_ else ""
            generations.append(
                {
                    "generation_id": name,
                    "content_id": ids.content_id(response),
                    "prompt_id": prompt,
                    "sample": sample,
                    "actor": "policy",
                    "response": response,
                    "finish_reason": "stop",
                    "response_tokens": len(response),
                }
                | more
            )
            verdict = None if score is None else "right" if score >= 1 else "wrong"
            scores.append(
                {"item_id": name, "item_kind": "generation", "prompt_id": prompt, "scorer_version": "1", "value": score, "verdict": verdict}
            )
        self.put("generations", part, generations, round_)
        for column in ("score", scorer):
            self.put("scores", f"{part}/{column}", [row | {"scorer": column} for row in scores], round_)

    def keep(self, output: Output, round_: int) -> None:
        """Commits what a step made, as the runner does."""
        for (table, part), rows in output.rows.items():
            self.lake.replace(table, rows, experiment=self.experiment, round=round_, part=part)

    def session(self, round_: int | None = None) -> Session:
        """SQL over the round, its history and the lake."""
        return Session(self.lake, Window(self.experiment if round_ is not None else None, round_), threads=1)

    def context(self, spec: Spec, round_: int = 0) -> SmallContext:
        """What a step of the round sees."""
        return SmallContext(self, spec, round_, self.folder / "spec.yaml")


@dataclass
class SmallContext:
    """engine.step.Context without models and decisions."""

    small: SmallLake
    spec: Spec
    round: int
    spec_path: Path
    progress: Silent = field(default_factory=Silent)

    def read(self, ref: Ref, columns: list[str] | None = None) -> pa.Table:
        rounds = range(BASE, self.round) if ref.when == "history" else [self.round if ref.when == "round" else BASE]
        rows = self.small.lake.read(ref.table, experiment=self.small.experiment, rounds=rounds, part=ref.part, columns=columns)
        return rows if ref.part else rows.filter(pc.invert(pc.starts_with(rows["part"], "eval")))

    def sql(self, query: str, params: dict[str, Any]) -> pa.Table:
        return Session(self.small.lake, Window(self.small.experiment, self.round, lake=False), threads=1).table(query, params)
