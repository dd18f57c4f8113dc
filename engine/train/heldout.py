"""Rows that never train: which they are, and what their losses say of when to stop. Light; `engine.train.watching` looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.errors import StepError
from engine.randomness import row_keys, uniforms
from engine.spec import EarlyStop

STEP = "hold_out"
ANY = 0  # the same rows are held out in every round: one that trained in an earlier round would flatter the loss


@dataclass(frozen=True)
class Look:
    """One look at the held-out rows: after `step` optimizer steps, whose training losses sum to `loss_sum`, their mean loss."""

    step: int
    loss: float
    loss_sum: float


def held(row_ids: Sequence[str], share: float, seed: int) -> list[int]:
    """Numbers of the rows that are held out, by id: each with chance `share`, from its id alone; where that is none, the one nearest
    to it (which no larger set of rows would let train either). StepError where no row would be left to train."""
    draws = uniforms(row_keys(seed, ANY, STEP, row_ids), 0)
    found = [i for i, draw in enumerate(draws) if draw < share] or [int(draws.argmin())]
    if len(found) == len(row_ids):
        raise StepError(
            f"train.hold_out holds out all of the {len(row_ids)} rows",
            hint="lower its share, or let the selection choose more rows",
        )
    return sorted(found, key=lambda i: row_ids[i])


def best(looks: Sequence[Look], how: EarlyStop) -> Look:
    """The look with the best loss: each new best is lower than the one before by more than `min_delta`."""
    found = looks[0]
    for look in looks[1:]:
        if look.loss < found.loss - how.min_delta:
            found = look
    return found


def over(looks: Sequence[Look], how: EarlyStop) -> bool:
    """Whether the last `patience` looks gave no new best."""
    return len(looks) - 1 - looks.index(best(looks, how)) >= how.patience
