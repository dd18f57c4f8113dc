"""The step `pairs` on a small lake with a real tiny model: `python pairs_step.py FOLDER` is killed in the midst of it."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.home import Home
from engine.pairs.steps import PairsStep
from engine.spec import Spec
from engine.step import Device, Model
from engine.train import references
from pairs_lake import by_scores
from small_lake import SmallContext, SmallLake, spec
from train_small import CPU, row, untrained

N = 6  # prompts of two answers: six pairs, twelve sums under each model


@dataclass
class PairContext(SmallContext):
    """What the step `pairs` sees: the lake, and models that are folders."""

    models: dict[str, Path] = field(default_factory=dict)
    device: Device = CPU
    fingerprint: str = "f0"
    attempt: str = "a0"

    @property
    def journal(self) -> Path:
        return self.small.folder / "journal"

    @property
    def home(self) -> Home:
        return Home(self.small.folder / "home")

    def model(self, which: str, role: str = "policy", ago: int = 0) -> Model:
        """The folder of a name; its digest is the name."""
        return Model(self.models[which].name, self.models[which])


def spec_of(**train: Any) -> Spec:
    """Best against worst with a reference; `train` over the entry, `pairs` in it."""
    pairs = {"sql": "pairs/best_worst.sql"} | train.pop("pairs", {})
    entry = {"objective": "dpo", "init": "previous", "reference": "previous", "data": "round", "max_length": 64}
    return spec(pairs=pairs, select={}, train=[entry | train])


def lake(folder: Path, round_: int = 0) -> SmallLake:
    """Answers of a round to prompts p0, p1, ..."""
    small = by_scores(folder, *[[1.0, 0.0]] * N) if round_ == 0 else SmallLake(folder)
    small.prompts([f"p{i}" for i in range(N)], round_=round_)
    said = [(f"p{i}", f"{word} {i * (round_ + 1)}", score) for i in range(N) for word, score in (("right", 1.0), ("wrong, yes", 0.0))]
    small.answers(said, round_=round_)
    return small


def models(folder: Path) -> dict[str, Path]:
    """An untrained model under two names, with different weights."""
    texts = [row(str(i), [("user", f"ask p{i}"), ("assistant", f"right {i} wrong, yes")]) for i in range(N)]
    first = untrained(folder / "m0", texts)
    if not (folder / "m1").exists():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(first)
        for weights in model.parameters():
            weights.data.mul_(1.5)
        model.save_pretrained(folder / "m1")
        AutoTokenizer.from_pretrained(first).save_pretrained(folder / "m1")
    return {"policy": folder / "m1", "base": first}


def run(small: SmallLake, which: dict[str, Path], round_: int = 0, **train: Any) -> pa.Table:
    """The rows that the step makes."""
    own = spec_of(**train)
    step = PairsStep("policy", small.folder / "spec.yaml")
    context = PairContext(small, own, round_, small.folder / "spec.yaml", models=which)
    return step.run(context).rows["pairs", "policy"]


def watched(calls: Path, kill_at: int | None = None) -> None:
    """From now on sums are journaled four at a time, and each batch's keys are written down before it is read; the process is killed
    when it begins the batch `kill_at`."""
    references.BATCH = 4
    summing, count = references._Summing.__call__, 0

    def call(self: Any, batch: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal count
        count += 1
        with calls.open("a") as file:
            file.write(json.dumps(batch.column("key").to_pylist()) + "\n")
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return summing(self, batch)

    references._Summing.__call__ = call  # type: ignore[method-assign]


if __name__ == "__main__":
    place = Path(sys.argv[1])
    watched(place / "calls.jsonl", 3)
    run(SmallLake(place / "small"), models(place), pairs={"logps": ["base"]})
