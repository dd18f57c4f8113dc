"""How many rows of earlier rounds train again, and which: the share of a round, whole numbers, and a draw by row id."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from engine.allocate import largest_remainder
from engine.errors import StepError
from engine.parts.continuing import Replay
from engine.randomness import row_keys, uniforms

STEP = "replay"


def share(how: Replay, round_: int, rounds: int) -> float:
    """The share of a round: `share` in round 0 and `to` in the last, on a line or half a cosine between them."""
    if how.to is None:
        return how.share
    past = min(1.0, round_ / max(1, rounds - 1))
    left = 1 - past if how.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * past))
    return how.to + (how.share - how.to) * left


def count(how: Replay, part: float, fresh: int, history: int) -> int:
    """How many rows: with of: training the whole number n for which n / (fresh + n) is nearest to the share, from
    fresh * share / (1 - share); with of: history the share of the earlier rows, rounded up (the k of DMT, arXiv 2310.05492)."""
    exact = Fraction(str(part))
    return math.ceil(history * exact) if how.of == "history" else round(fresh * exact / (1 - exact))


def drawn(rounds: Mapping[str, int], wanted: int, seed: int, round_: int) -> list[str]:
    """`wanted` of the row ids (their source rounds given), each round's number in proportion to its rows by largest remainder, and
    which by lot from (seed, round, row id). All of them where there are no more."""
    if wanted >= len(rounds):
        return sorted(rounds)
    groups: dict[int, list[str]] = {}
    for row in sorted(rounds):
        groups.setdefault(rounds[row], []).append(row)
    order = sorted(groups)
    found: list[str] = []
    for source, number in zip(order, largest_remainder([len(groups[source]) for source in order], wanted), strict=True):
        found += _first(groups[source], number, seed, round_)
    return sorted(found)


def _first(rows: Sequence[str], number: int, seed: int, round_: int) -> list[str]:
    draws = uniforms(row_keys(seed, round_, STEP, rows), 0)
    return [row for _, row in sorted(zip(draws.tolist(), rows, strict=True))[:number]]


def enough(how: Replay, wanted: int, found: int, where: str) -> None:
    """StepError where the earlier rounds have too few rows, unless the spec takes what there is."""
    if found < wanted and how.short == "error":
        raise StepError(
            f"{where}: replay asks for {wanted:,} rows of earlier rounds, and there are {found:,}",
            hint="lower train.replay.share, widen its source, or set train.replay.short: take-all",
        )
