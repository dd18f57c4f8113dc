"""Rows with labels and numbers, and trainers over one batch of them, for the objectives on single rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from engine.train import Job, objective
from train_small import job, sums

LABELS = ("undesirable", "desirable")


def rows(n: int = 8, **extra: float) -> list[dict[str, Any]]:
    """Sums, every other one desirable, with the same numbers in `extra`."""
    found = sums(n)
    for i, row in enumerate(found):
        row |= {"label": LABELS[i % 2], "extra": list(extra.items())}
    return found


def job_of(folder: Path, model: Path, name: str, given: list[dict[str, Any]], **more: Any) -> Job:
    """A job for an objective, beside `model` where it needs a reference."""
    reference = "base" if name in ("kto", "superhf") else "none"
    made = job(folder, model, given, objective=name, **({"reference": reference, "log_every": 1} | more))
    made.reference = model
    return made


def logged(trained, metric: str) -> list[float]:
    """A metric of training_log, step by step."""
    return [row["value"] for row in trained.log if row["metric"] == metric]


def trainer_of(one: Job) -> tuple[Any, Any]:
    """The trainer of an objective on single rows over one batch of all rows, and a maker of that batch's tensors."""
    from engine.train.log import Log
    from engine.train.methods.sft import config
    from engine.train.running import Running
    from engine.train.state import Consumed
    from engine.train.unpaired import RowCollator, RowTrainer, encoded

    running, method = Running(one), objective(one.settings)
    found = encoded(one, running, method)
    plan = Consumed([list(range(len(found)))], [row.row_id for row in found])
    collator = RowCollator(found, plan.plan, running.pad)
    trainer = running.built(RowTrainer, config(running), plan, Log(1, 1), data_collator=collator, objective=method)
    return trainer, lambda: trainer.data_collator([{"batch": 0}])


def gradients(model: Any, loss: torch.Tensor) -> list[torch.Tensor]:
    """The gradients of a loss, the model's left clear."""
    model.zero_grad()
    loss.backward()
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return found
