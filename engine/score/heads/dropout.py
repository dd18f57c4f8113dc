"""Monte Carlo dropout whose masks depend on a seed, the row's own content, the pass, the place in the model and nothing else.

A mask is drawn as `engine.randomness` draws (SplitMix64, in integer arithmetic on the model's device), by the position of an
element in its row, so that neither batch nor padding can change it. Attention weights, which kernels drop by themselves in
training, stay whole. Source of the method: Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016, arXiv 1506.02142.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from engine.errors import StepError
from engine.randomness import row_keys

Sites = Literal["own", "linear", "head"]
STEP = "mc_dropout"
AXIS = 20  # bits of an element's index along one axis of its row
GAMMA, FIRST, SECOND = (value - (1 << 64) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))  # as int64


class Dropping:
    """Draws masks for `passes` passes over each row. `rate` None: the rates of the model's own dropout layers."""

    def __init__(self, passes: int, seed: int, sites: Sites, rate: float | None) -> None:
        self.passes, self.seed, self.sites, self.rate = passes, seed, sites, rate

    def keys(self, rows: Sequence[str]) -> np.ndarray:
        """A uint64 key for each pass over each row, the passes of a row beside each other."""
        return row_keys(self.seed, 0, STEP, (f"{row}/{draw}" for row in rows for draw in range(self.passes)))

    @contextmanager
    def rows(self, model: nn.Module, keys: Sequence[int]) -> Iterator[None]:
        """While open, `model` drops out; row i of its input by keys[i]. StepError where it has no place for that."""
        places = self._places(model)
        streams = torch.from_numpy(np.array(keys, dtype=np.uint64).view(np.int64)).to(next(model.parameters()).device)
        calls = [0] * len(places)

        def dropped(place: int, hidden: Any) -> Any:
            calls[place] += 1
            return drop(hidden, streams, (place << 16) + calls[place], places[place][1])

        hooks = []
        for place, (module, _) in enumerate(places):
            if self.sites == "own":
                hooks.append(module.register_forward_hook(lambda _, given, out, place=place: dropped(place, out)))
            else:
                hooks.append(module.register_forward_pre_hook(lambda _, given, place=place: (dropped(place, given[0]), *given[1:])))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        if not any(calls):
            raise StepError("the model never comes by its dropout layers, so every pass is the same", hint="sites: linear or head")

    def _places(self, model: nn.Module) -> list[tuple[nn.Module, float]]:
        if self.sites == "own":
            layers = [module for module in model.modules() if isinstance(module, nn.Dropout)]
            rates = [module.p if self.rate is None else self.rate for module in layers]
            found: list[tuple[nn.Module, float]] = [(module, rate) for module, rate in zip(layers, rates, strict=True) if rate > 0]
        else:
            linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
            found = [(module, self.rate or 0.0) for module in (linear[-1:] if self.sites == "head" else linear)]
        if not found:
            raise StepError(
                "the model has no dropout layer that drops anything, so every pass would be the same",
                hint="give `sites: linear` (the inputs of all linear layers) or `sites: head`, with a `dropout` rate",
            )
        return found


def drop(hidden: torch.Tensor, streams: torch.Tensor, site: int, rate: float) -> torch.Tensor:
    """`hidden` (rows, ...) with elements set to 0 with probability `rate` and the others divided by 1 - rate.

    `streams` (rows,): int64 keys; `site` tells places in the model apart. StepError where the first axis is not the rows.
    """
    if hidden.shape[0] != len(streams) or max(hidden.shape[1:], default=0) > 1 << AXIS or hidden.dim() > 4:
        raise StepError(
            f"dropout: expected {len(streams)} rows first, found the shape {tuple(hidden.shape)}",
            hint="this model mixes rows before a dropout layer; choose other `sites`",
        )
    place = torch.zeros(hidden.shape[1:], dtype=torch.int64, device=hidden.device)
    for axis, size in enumerate(hidden.shape[1:]):
        steps = torch.arange(size, device=hidden.device).view([-1 if i == axis else 1 for i in range(hidden.dim() - 1)])
        place = place + (steps << (AXIS * axis))
    counters = (place + 1) * GAMMA
    least = math.ceil(rate * 2**53)
    made = torch.empty_like(hidden)
    own = _mixed(streams + torch.full_like(streams, site) * GAMMA)
    for row, stream in enumerate(own):  # a row at a time: the integers take 8 bytes an element
        kept = _shifted(_mixed(counters + stream), 11) >= least
        made[row] = hidden[row] * kept / (1 - rate)
    return made


def _mixed(z: torch.Tensor) -> torch.Tensor:
    """SplitMix64's output function in int64, which wraps as uint64 does; in place."""
    for bits, factor in ((30, FIRST), (27, SECOND)):
        z = z.bitwise_xor_(_shifted(z, bits)).mul_(factor)
    return z.bitwise_xor_(_shifted(z, 31))


def _shifted(z: torch.Tensor, bits: int) -> torch.Tensor:
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)
