"""Small real things to train: sums as rows, an untrained tiny model, jobs and a step context with a home."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.home import Home
from engine.ids import digest
from engine.spec import TinyModel, Train
from engine.step import Device, Model, Silent
from engine.tables import TABLES
from engine.train import Job, Trained, objectives
from fakes import FakeContext

CPU = Device("cpu", 1, "float32")
TINY = TinyModel(hidden_size=16, layers=1, heads=2, ffn=32, positions=64, vocabulary=200)


def row(name: str, messages: Sequence[tuple], weight: float = 1.0) -> dict[str, Any]:
    """A row of `selected`; a message is (role, content) or (role, content, weight)."""
    weights = [m[2] if len(m) > 2 else float(m[0] == "assistant") for m in messages]
    said = [{"role": m[0], "content": m[1], "origin": "gold", "weight": w} for m, w in zip(messages, weights, strict=True)]
    return {"row_id": name, "prompt_id": name, "messages": said, "weight": weight, "origin": "gold", "source_round": -1}


def selected(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table of `selected`."""
    return pa.Table.from_pylist(rows, schema=TABLES["selected"].columns)


def sums(n: int = 24) -> list[dict[str, Any]]:
    """Worked sums; some answers are longer than others."""
    return [
        row(digest("sum", i), [("user", f"Add {i} and {3 * i % 7}."), ("assistant", f" {i}+{3 * i % 7}={i + 3 * i % 7}" + "!" * (i % 4))])
        for i in range(n)
    ]


def untrained(folder: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    """An untrained model whose tokenizer is fitted to `rows`."""
    from engine.train import tiny
    from engine.train.quiet import quiet

    with quiet():
        tiny.build([m["content"] for one in rows or sums() for m in one["messages"]], TINY, seed=3, folder=folder)
    return folder


def settings(**more: Any) -> Train:
    """Train settings for `sums`: 24 rows in batches of 4."""
    given = {"init": "base", "reference": "none", "data": "round", "batch_size": 4, "learning_rate": 1e-2, "save_every": 4}
    return Train(**(given | more))


def job(folder: Path, model: Path, rows: list[dict] | None = None, *, device: Device = CPU, progress: Any = None, **more: Any) -> Job:
    """A job whose output and state lie in `folder`; `more` are train settings."""
    return Job(
        model=model,
        rows=selected(rows or sums()),
        settings=settings(**more),
        device=device,
        seed=5,
        round=0,
        out=folder / "out",
        state=folder / "state",
        progress=progress or Silent(),
    )


def sft(one: Job) -> Trained:
    """Trains it."""
    return objectives.load("sft")().train(one)


@dataclass
class Events(Silent):
    """A progress that keeps what it is told; raises `stop_with` at step `stop_at` of its own."""

    stop_at: int = -1
    stop_with: type[BaseException] = KeyboardInterrupt
    began: list[tuple[str, int, int, str]] = field(default_factory=list)
    steps: int = 0

    def begin(self, label: str, total: int, done: int = 0, unit: str = "rows") -> None:
        self.began.append((label, total, done, unit))

    def advance(self, rows: int) -> None:
        self.steps += rows
        if self.steps == self.stop_at:
            raise self.stop_with


@dataclass
class TrainContext(FakeContext):
    """A context with a home, in which the policy and the base are folders."""

    models: dict[str, Model] = field(default_factory=dict)
    device: Device = CPU
    fingerprint: str = "f0"
    attempt: str = "a0"
    opening: int = 0

    @property
    def home(self) -> Home:
        return Home(self.folder / "home")

    def model(self, which: str, role: str = "policy") -> Model:
        return self.models[which]

    def inputs(self) -> list[dict[str, Any]]:
        return [{"table": "selected", "part": "policy", "round": self.round, "content_hash": "0" * 16}]


def files(folder: Path) -> dict[str, bytes]:
    """Every file's bytes by relative name."""
    return {os.path.relpath(p, folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
