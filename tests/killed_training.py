"""Trains one small job in the folder given as argument, and says when its steps begin; a test kills it at a random moment and starts
it again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from engine import models
from engine.train import Job, Trained, objectives
from pairs_small import fit, pairs, pairs_job
from train_small import Events
from unpaired_rows import job_of, rows

STEPS = 60


class Begins(Events):
    """Says on standard output that the first step follows."""

    def begin(self, label: str, total: int, done: int = 0, unit: str = "rows") -> None:
        super().begin(label, total, done, unit)
        print(f"began at {done}", flush=True)


def job(folder: Path, model: Path, name: str) -> Job:
    """A job of an objective on pairs, else on rows."""
    how: dict[str, Any] = {"max_steps": STEPS, "save_every": 2, "batch_size": 4, "log_every": 1, "learning_rate": 1e-3}
    if objectives.load(name).reads == "pairs":
        return pairs_job(folder, model, pairs(24), objective=name, **how)
    return job_of(folder, model, name, rows(24, ref_logps=-20.0), **how)


def facts(trained: Trained) -> dict[str, Any]:
    """What must not depend on kills."""
    return {"digest": models.digest(trained.folder), "rows": trained.row_ids, "loss": trained.loss, "log": trained.log}


def main(folder: Path, model: Path, name: str) -> None:
    """One run, from the newest trainer state."""
    one = job(folder, model, name)
    one.progress = Begins()
    (folder / "facts.json").write_text(json.dumps(facts(fit(one))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
