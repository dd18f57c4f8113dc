"""The stop rule: collects the points of the learning curve, and says in the ledger whether it has flattened.

The verdict stands in the detail of the step `promotion` (view `predicted_gain`), with the settings that it was made with.
Under other settings it does not count, so a changed or removed `stop` lets the experiment go on; the next round judges anew
over all points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from engine.promotion.curve import Point, looks
from engine.rows import only, records
from engine.spec import Stop
from engine.step import BASE, POLICY, Context, Ref


@dataclass(frozen=True)
class Flat:
    """The round after which the learning curve ended the experiment, and why."""

    round: int
    why: str

    def hint(self, name: str) -> str:
        """How the experiment `name` goes on all the same."""
        return f"`rondo run {name} --from {self.round + 1}` adds a round; `stop: null` in the spec, or another tau, lets it go on"


def verdict(ctx: Context) -> dict[str, Any]:
    """What the rule says after this round, for the ledger; {} where the spec has none and for the base."""
    stop = ctx.spec.stop
    if stop is None or ctx.round == BASE:
        return {}
    points = measured(ctx, stop)
    found = looks(points, stop)
    small = sum(look.small for look in found)
    first = found[0] if found else None
    curve = first.curve if first else None
    told = f"{stop.metric} {points[-1].y:.4g} at {points[-1].x:,.0f} {stop.x}: {first.why}" if first else f"no {stop.metric} was measured"
    if first and first.small:
        told += f", in {small} of {stop.patience} rounds"
    return {
        "stop": {
            "settings": stop.model_dump(mode="json"),
            "ends": small == stop.patience,
            "why": told,
            "points": len(points),
            "x": points[-1].x if points else None,
            "value": points[-1].y if points else None,
            "asymptote": curve.c if curve else None,
            "exponent": curve.b if curve else None,
            "gain": first.gain if first else None,
            "per_round": first.per_round if first else None,
            "in_a_row": small,
        }
    }


def recorded(detail: dict[str, Any], stop: Stop | None) -> str | None:
    """Why a promotion's ledger detail ends the experiment; None where it does not, or was made with other settings."""
    found = detail.get("stop")
    if not found or stop is None or not found["ends"] or found["settings"] != stop.model_dump(mode="json"):
        return None
    return str(found["why"])


def measured(ctx: Context, stop: Stop) -> list[Point]:
    """The gate metric of every round's checkpoint up to this one, held ones included, oldest first; the base has x = 0 and no point.

    Rows trained are counted along the parents: a checkpoint's own and, where it started from another round's, those of that one.
    """
    rows = pa.concat_tables([ctx.read(Ref("evaluations", POLICY, when)) for when in ("history", "round")])
    rows = only(rows, suite="gate", metric=stop.metric)
    found = {r["round"]: r for r in rows.to_pylist() if r["topic"] is None and r["value"] is not None and r["round"] != BASE}
    trained = _rows_trained(ctx) if stop.x == "rows" else {}
    points = [(trained[r] if stop.x == "rows" else r + 1, found[r]) for r in sorted(found)]
    return [Point(float(x), row["value"], float(row["n"])) for x, row in points if x > 0]


def _rows_trained(ctx: Context) -> dict[int, int]:
    columns = ["round", "digest", "parents", "rows_trained", "at"]
    tables = [ctx.read(Ref("checkpoints", POLICY, when), columns) for when in ("history", "round")]
    newest: dict[int, dict[str, Any]] = {}
    for row in sorted(records(pa.concat_tables(tables)), key=lambda row: row["at"]):
        newest[row["round"]] = row  # a round that was trained again has several rows
    counts: dict[int, int] = {}
    known: dict[str, int] = {}
    for round_ in sorted(newest):
        row = newest[round_]
        own = 0 if round_ == BASE else row["rows_trained"] + max((known.get(parent, 0) for parent in row["parents"]), default=0)
        counts[round_] = own
        known.setdefault(row["digest"], own)
    return counts
