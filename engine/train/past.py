"""What a training goes on from beside the weights: its place in a schedule over rounds, and the optimizer's moments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine import models
from engine.errors import ModelError, StepError
from engine.spec import Train
from engine.step import BASE, POLICY, Context, Model, Ref
from engine.train import keepsakes


@dataclass(frozen=True)
class Past:
    """What came before a training. The defaults are those of one that stands alone.

    `steps` and `tokens` are those of its schedule so far, `rounds` how many the schedule still covers, this one included; `decays`:
    the decay at the end is a share of this training's own steps. `peak` is this round's share of the spec's learning rate, `norms`
    the gradient norms that the role's last training logged, in order. `model` is a folder to start from in place of `init`'s
    (a trunk), `moments` the file with the optimizer's state. `detail` says in words what was found.
    """

    steps: int = 0
    tokens: int = 0
    rounds: int = 1
    decays: bool = True
    peak: float = 1.0
    norms: tuple[float, ...] = ()
    model: Path | None = None
    moments: Path | None = None
    detail: tuple[tuple[str, Any], ...] = ()


def refs(train: Train) -> list[Ref]:
    """Parts that say what a training goes on from."""
    if not train.continues:
        return []
    found = [Ref("checkpoints", train.role, "history"), Ref("checkpoints", POLICY, "base")]
    return [*found, Ref("training_log", train.role, "history")] if train.schedule == "refined" else found


def settings(train: Train, rounds: int) -> dict[str, Any]:
    """What enters the fingerprint beside the entry of `train`: the number of rounds, where a schedule runs over all of them."""
    return {"rounds": rounds} if train.schedule_over == "experiment" else {}


def of(ctx: Context, train: Train, init: Model) -> Past:
    """What the training of this round goes on from, given the model of `init`. At the base nothing is before.

    StepError where `init` is a checkpoint of a round that kept no moments or trunk, though the spec asks for them.
    """
    if ctx.round == BASE:
        return Past()
    peak = train.round_peak**ctx.round
    if not train.continues:
        return Past(peak=peak)
    rows = _newest(ctx.read(Ref("checkpoints", train.role, "history")))
    start = next((row for row in reversed(rows) if row["digest"] == init.digest), None)
    detail: dict[str, Any] = {}
    values: dict[str, Any] = {"peak": peak}
    if train.schedule_over == "experiment":
        values |= {"steps": sum(row["steps"] for row in rows), "tokens": sum(row["tokens"] for row in rows)}
        values |= {"rounds": max(1, ctx.spec.rounds - ctx.round), "decays": False}
    if train.schedule_over == "trunk" and (kept := _kept(ctx, train, init, start, "trunk", detail)):
        values |= {"steps": kept["steps"], "tokens": kept["tokens"], "model": keepsakes.find(init.path, "trunk", kept["digest"])}
        if (found := models.digest(values["model"])) != kept["digest"]:
            raise ModelError(
                f"the trunk's files have changed: expected digest {kept['digest']}, found {found}",
                where=str(values["model"]),
                hint="restore the files, or run the round that trained it again with --from",
            )
    if train.schedule_over != "round":
        detail["schedule_at"] = values.get("steps", 0)
    if train.optimizer_state == "carried" and (kept := _kept(ctx, train, init, start, "moments", detail)):
        values["moments"] = keepsakes.find(init.path, "moments", kept["digest"])
    if train.schedule == "refined":
        values["norms"] = _norms(ctx, train.role)
        detail["norms"] = len(values["norms"])
    return Past(**values, detail=tuple(detail.items()))


def _newest(rows: pa.Table) -> list[dict[str, Any]]:
    """The last checkpoint of every round, in order of the rounds; the base is none of the role's trainings."""
    by_round: dict[int, dict[str, Any]] = {}
    for row in sorted(rows.to_pylist(), key=lambda row: (row["round"], row["at"])):
        by_round[row["round"]] = row
    return [row for round_, row in by_round.items() if round_ != BASE]


def _kept(
    ctx: Context, train: Train, init: Model, start: dict[str, Any] | None, name: str, detail: dict[str, Any]
) -> dict[str, Any] | None:
    """What the checkpoint that the round starts from says of a keepsake; None where that is the base, which `detail` then says."""
    if start is None and init.digest == ctx.model("base").digest:
        detail[name] = "fresh: the round starts from the base"
        return None
    kept = json.loads(start["settings"]).get(name) if start else None
    if kept is None:
        wanted = "schedule_over: trunk" if name == "trunk" else "optimizer_state: carried"
        why = "it was trained without it" if start else f"it is no checkpoint that role {train.role} trained"
        raise StepError(
            f"train ({train.role}): {wanted}, but checkpoint {init.digest}, which round {ctx.round} starts from, has none: {why}",
            where=str(init.path),
            hint=f"set {wanted} from the first round on (`rondo run --from 0`), or go on without it",
        )
    return kept


def _norms(ctx: Context, role: str) -> tuple[float, ...]:
    """The gradient norms of the role's last training, by step; none before its first."""
    rows = ctx.read(Ref("training_log", role, "history"))
    rows = rows.filter(pc.and_(pc.equal(rows["metric"], "grad_norm"), pc.greater(rows["round"], BASE)))
    if not rows.num_rows:
        return ()
    last = rows.filter(pc.equal(rows["round"], pc.max(rows["round"]))).sort_by("step")
    return tuple(last["value"].to_pylist())
