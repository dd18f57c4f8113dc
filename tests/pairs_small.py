"""Small real pairs to train on: rows of `pairs`, jobs over them, and values of a batch as tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.ids import digest
from engine.tables import TABLES
from engine.train import Job, Trained, objective, objectives
from engine.train.pairwise import PairObjective
from train_small import job

# Numbers that some objective needs; every row has them all.
EXTRA = {"win_chosen": 0.8, "win_rejected": 0.3, "uncertainty": 0.2, "sampling": 0.05, "reward_chosen": 1.5, "reward_rejected": -0.5}


def said(text: str, role: str = "assistant", weight: float = 1.0) -> dict[str, Any]:
    """A message."""
    return {"role": role, "content": text, "origin": "generation", "weight": weight}


def pair(name: str, asked: str, chosen: str | list, rejected: str | list, **more: Any) -> dict[str, Any]:
    """A row of `pairs` with all numbers; `chosen` and `rejected` are an answer or a list of messages."""
    sides = {"chosen": chosen, "rejected": rejected, **({"third": more.pop("third")} if "third" in more else {})}
    sides = {side: [said(given)] if isinstance(given, str) else given for side, given in sides.items()}
    fixed = {"row_id": digest(name), "prompt_id": digest(asked), "messages": [said(asked, "user", 0.0)], "weight": 1.0}
    numbers = {"probability": 0.8, "margin": 1.0, "ref_chosen_logps": -60.0, "ref_rejected_logps": -62.0, "extra": EXTRA}
    return {**fixed, **sides, **numbers, "origin": "generation", "source_round": 0, **more}


def pairs(n: int = 16) -> list[dict[str, Any]]:
    """Right against wrong sums; answers differ in length, and the third one is the chosen one said otherwise."""
    made = []
    for i in range(n):
        a, b = i, 3 * i % 7
        right, wrong = f" {a}+{b}={a + b}" + "!" * (i % 4), f" {a}+{b}={a - b}" + "?" * (i % 3)
        shift = {"ref_chosen_logps": -60.0 - i / 4, "ref_rejected_logps": -62.0 + i / 8}
        made.append(pair(f"pair{i}", f"Add {a} and {b}.", right, wrong, third=f" {a + b}", **shift))
    return made


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table of `pairs`."""
    rows = [{**row, "extra": list(row["extra"].items()) if row.get("extra") else None} for row in rows]
    return pa.Table.from_pylist(rows, schema=TABLES["pairs"].columns)


def pairs_job(folder: Path, model: Path, rows: list[dict[str, Any]] | None = None, **more: Any) -> Job:
    """A job on pairs; `more` are train settings, `objective` among them."""
    reference = "none" if objectives.load(more.get("objective", "dpo")).reference == "none" else "previous"
    settings = {"objective": "dpo", "batch_size": 4, "learning_rate": 1e-3, "reference": reference, "log_every": 1}
    return replace(job(folder, model, **(settings | more)), rows=table(rows or pairs()))


def fit(one: Job) -> Trained:
    """Trains it with the objective that its settings name."""
    return objective(one.settings).train(one)


def pair_objectives() -> list[str]:
    """The names of all objectives on pairs with a loss a pair."""
    return [name for name in objectives.names() if issubclass(objectives.load(name), PairObjective)]


def loss_of(name: str, params: dict[str, Any] | None = None, numbers: dict[str, Any] | None = None, **given: Any) -> Any:
    """The losses (float64) of an objective on rows given by number or list; tokens are 1 where they are not given."""
    import torch

    from engine.train.pairwise import PairValues

    def tensor(value: Any) -> torch.Tensor:
        return value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=torch.float64).reshape(-1)

    rows = tensor(given["chosen"])
    filled = {"rejected": rows * 0 - 1, "chosen_tokens": rows.detach() * 0 + 1, "rejected_tokens": rows.detach() * 0 + 1} | given
    columns = {key: tensor(value) for key, value in (numbers or {}).items()}
    made = PairValues(**{key: tensor(value) for key, value in filled.items()}, numbers=columns)
    method = objectives.load(name)
    return method(method.Params.model_validate(params or {})).loss(made)
