"""Rows of `pairs` ready to train: both sides (or all three) as token ids, and the numbers that the objective needs, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine.errors import StepError
from engine.train import sides
from engine.train.encode import Example
from engine.train.pairwise import OWN, PairObjective, numbers_of

if TYPE_CHECKING:
    from engine.train.running import Running

REFERENCE = {"ref_chosen": "ref_chosen_logps", "ref_rejected": "ref_rejected_logps"}


@dataclass(frozen=True)
class Pair:
    """A pair ready to train: its sides as token ids with weights, and its numbers."""

    row_id: str
    sides: tuple[Example, ...]
    weight: float
    numbers: Mapping[str, float]


def encoded(rows: pa.Table, running: Running, objective: PairObjective) -> list[Pair]:
    """Every row of `pairs` as the objective needs it. StepError, naming a row, where one lacks a side or a number."""
    encoder = running.encoder(sides.MASK)
    names = sides.SIDES if objective.third else sides.SIDES[:2]
    for side in names:
        if rows[side].null_count:
            raise StepError(
                f"the objective trains on {', '.join(names)}, and {rows[side].null_count} of {rows.num_rows} pairs have no {side} answer",
                hint="let the SQL of `pairs` give it, or choose another objective",
            )
    table = rows.select(["row_id", "weight", "probability", "margin", "extra", *REFERENCE.values()]).to_pylist()
    numbers = [_numbers(row, objective) for row in table]
    _weights(table, objective)
    found = [encoder.encode(sides.rows(rows, side, running.job.settings.mask)) for side in names]
    return [
        Pair(row["row_id"], own, row["weight"], known) for row, known, own in zip(table, numbers, zip(*found, strict=True), strict=True)
    ]


def _numbers(row: Mapping[str, Any], objective: PairObjective) -> dict[str, float]:
    """What the loss needs of a row beside its answers. StepError for a number that is not there, not finite, or out of its range."""
    wanted = tuple(objective.columns)
    found = numbers_of(row, wanted)
    if objective.reference == "values":
        found |= {name: row[column] for name, column in REFERENCE.items()}
    known: dict[str, float] = {}
    for name, value in found.items():
        low, high = objective.ranges.get(name, (-math.inf, math.inf))
        if value is not None and math.isfinite(value) and low <= value <= high:
            known[name] = value
            continue
        column = REFERENCE.get(name, name)
        place = column if name in REFERENCE or name in OWN else f"extra, key {name}"
        given = "let the SQL of `pairs` give it" + ("" if name in OWN else f" as an entry of extra: MAP {{'{name}': ...}}")
        raise StepError(
            f"pair {row['row_id']}: the objective needs {column}{_range(low, high)}, found {'none' if value is None else value}",
            where=f"pairs, column {place}",
            hint=given if name in wanted else "the step `pairs` computes it: look at train.reference",
        )
    return known


def _range(low: float, high: float) -> str:
    if math.isfinite(high):
        return f" between {low:g} and {high:g}"
    return f" of at least {low:g}" if math.isfinite(low) else " as a finite number"


def _weights(table: Sequence[Mapping[str, Any]], objective: PairObjective) -> None:
    """StepError, naming a row, for a weight that cannot train."""
    first = table[0]["weight"] if table else 1.0
    for row in table:
        weight = row["weight"]
        if not 0 < weight < math.inf:
            raise StepError(
                f"pair {row['row_id']} has weight {weight}, expected a finite one above 0",
                where="pairs, column weight",
                hint="leave such pairs out in the SQL of `pairs`",
            )
        if weight != first and not objective.weighted:
            raise StepError(
                f"pair {row['row_id']} has weight {weight} and pair {table[0]['row_id']} has {first}; this objective compares the pairs "
                "of a batch with each other, so all must weigh alike",
                where="pairs, column weight",
                hint="let the SQL of `pairs` give all the same weight",
            )
