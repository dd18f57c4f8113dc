"""Small jobs for objectives with a head: pairs of sums whose right answer is chosen, and answers with scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.ids import digest
from engine.tables import TABLES
from engine.train import Job, Trained, objective
from train_small import job, settings


def message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content, "origin": "gold", "weight": float(role == "assistant")}


def pair(name: str, asked: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    """A row of `pairs`."""
    said = {"messages": [message("user", asked)], "chosen": [message("assistant", chosen)], "rejected": [message("assistant", rejected)]}
    own = {"row_id": name, "prompt_id": name, "weight": 1.0, "origin": "generation", "source_round": 0}
    return dict.fromkeys(TABLES["pairs"].columns.names) | own | said | more


def pairs(n: int = 24) -> list[dict[str, Any]]:
    """Right sums against ones that are one too high."""
    return [pair(digest("pair", i), f"Add {i} and 3.", f" {i + 3}!", f" {i + 4}?") for i in range(n)]


def table(rows: list[dict[str, Any]], name: str = "pairs") -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TABLES[name].columns)


def headed(folder: Path, model: Path, rows: pa.Table, name: str, **more: Any) -> Job:
    """A job of the objective `name`."""
    one = job(folder, model, **({"role": "reward"} | more | {"objective": name}))
    one.rows = rows
    return one


def train(one: Job) -> Trained:
    """Runs a job."""
    return objective(one.settings).train(one)


def values(objective: Any, outputs: list[list[list[float]]], rows: list[dict[str, Any]]) -> Any:
    """What the loss of an objective sees where the head gives `outputs` (rows, texts, outputs)."""
    import torch

    from engine.train.heads import HeadValues

    numbers = [objective.numbers(row) for row in rows]
    return HeadValues(torch.tensor(outputs), {name: torch.tensor([one[name] for one in numbers]) for name in numbers[0]})


def made(name: str, **params: Any) -> Any:
    """An objective with params."""
    return objective(settings(role="reward", objective=name, params=params))
