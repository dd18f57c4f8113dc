"""A tiny online training: a model that has learnt to add badly, scored for saying 7."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import models
from engine.spec import Train
from engine.step import Model, Silent
from engine.tables import check
from engine.train import Job, Trained, objective
from fakes import spec_of
from train_small import CPU, TrainContext, settings

SCORE = [{"verifier": "regex", "name": "seven", "params": {"pattern": "7"}}]


def prompts(n: int = 8) -> pa.Table:
    """Sums to answer."""
    asked = [[{"role": "user", "content": f"Add {i} and {3 * i % 7}."}] for i in range(n)]
    rows = [{"prompt_id": f"p{i:02d}", "split": "train", "messages": one, "reference": "1"} for i, one in enumerate(asked)]
    return check("prompts", pa.Table.from_pylist(rows))


def online(folder: Path, model: Path, name: str = "grpo", *, n: int = 8, beside: Path | None = None, **more: Any) -> Job:
    """A job in `folder` of 4 prompts a step with 4 answers each; `more` are train settings, `spec` what the spec has beside."""
    spec = more.pop("spec", {})
    progress = more.pop("progress", None) or Silent()
    given = {"batch_size": 4, "learning_rate": 1e-2, "save_every": 2, "log_every": 1, "max_length": 64} | more
    train: Train = settings(objective=name, **given)
    fields = {"generate": {"samples": 4, "max_tokens": 6, "batch": 8}, "score": SCORE, "seed": 5} | spec
    ctx = TrainContext(spec_of(train=[train.model_dump()], **fields), folder, models={"base": Model(models.digest(model), model)})
    return Job(
        model=model,
        rows=prompts(n),
        settings=train,
        device=CPU,
        seed=5,
        round=0,
        out=folder / "out",
        state=folder / "state",
        progress=progress,
        reference=beside or (model if train.references else None),
        ctx=ctx,
    )


def run(job: Job) -> Trained:
    """Trains it."""
    return objective(job.settings).train(job)


def again(job: Job, **more: Any) -> Job:
    """The job with other train settings."""
    return replace(job, settings=job.settings.model_copy(update=more))


# every block of two batches trains twice: a training can be killed inside a block
TWICE: dict[str, Any] = {"reference": "base", "epochs": 2, "params": {"iterations": 2, "together": 2, "beta": 0.1}}
