"""Small things to merge: tensors of one name, and an experiment whose two arms are merged each round."""

from __future__ import annotations

from typing import Any

import torch
import yaml

import loop_home
from engine.merge import Merger, Named, mergers

ARM = {"init": "previous", "reference": "none", "data": "round", "max_steps": 4, "batch_size": 8, "learning_rate": 1e-2, "max_length": 64}


def named(*members: list[float] | torch.Tensor, base: Any = None, weights: tuple[float, ...] | None = None, **more: Any) -> Named:
    """Tensors of one name; lists become matrices of one row, so that they are no biases."""
    own = [_matrix(member) for member in members]
    given = {"name": "w", "members": own, "weights": weights or (1.0,) * len(own), "base": None if base is None else _matrix(base)}
    return Named(**(given | more))


def _matrix(values: Any) -> torch.Tensor:
    return values if isinstance(values, torch.Tensor) else torch.tensor([values], dtype=torch.float32)


def method(name: str, **params: Any) -> Merger:
    """A method with its settings."""
    found = mergers.load(name)
    return found(found.Params(**params))


def arms(merge: dict[str, Any], count: int = 2, **over: Any) -> str:
    """The YAML of `loop_home`, in which arms that select other answers train from one start and are merged into the policy."""
    spec = yaml.safe_load(loop_home.YAML)
    spec["rounds"] = 2
    names = [f"arm-{'abcd'[i]}" for i in range(count)]
    spec["train"] = [
        ARM | {"role": name, "select": {"sql": "select/random.sql", "params": {"per_prompt": 1 + i}}} for i, name in enumerate(names)
    ]
    spec["merge"] = [{"method": "soup", "of": names} | merge]
    return yaml.safe_dump(spec | over, sort_keys=False)
