"""Dropout while a head trains, at the places where the scorers drop out when they measure doubt (`engine.score.heads.dropout`).

The draws are torch's, whose state the trainer keeps: a training that was killed goes on with the masks that it would have had.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.functional import dropout

from engine.errors import StepError


def put(model: nn.Module, rate: float, sites: str) -> None:
    """Lets `model` drop out while it is in training mode. StepError where it has no such place."""
    if sites == "own":
        layers = [module for module in model.modules() if isinstance(module, nn.Dropout)]
        for layer in layers:
            layer.p = rate
    else:
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        layers = linear[-1:] if sites == "head" else linear  # type: ignore[assignment]
        for layer in layers:
            layer.register_forward_pre_hook(lambda module, given: _dropped(module, given, rate))
    if not layers:
        raise StepError(
            f"the model has no place for dropout (sites: {sites})",
            hint="set train.params.sites: linear or head, or train.params.dropout: 0",
        )


def _dropped(module: nn.Module, given: tuple[Any, ...], rate: float) -> tuple[Any, ...]:
    return (dropout(given[0], rate, module.training), *given[1:])
