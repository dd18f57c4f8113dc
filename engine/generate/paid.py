"""Answers of an actor that the lake already has: when something else of a round's generation changes, they are not asked again.

A spec that gets one more actor, more samples, another share or another target runs `generations` again. The part that this run will
replace still holds the answers of the run before it. One of them is taken over where nothing that it depends on has changed: the
actor's own settings in the ledger (backend, revision, files, sampler), seed, device, model, temperature and top_p. Answers that
failed are asked again, and so are those of backends that look theirs up, which cost nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.generate.asks import asked, without
from engine.ids import canonical
from engine.rows import content_hash, own_columns
from engine.step import Context, Device
from engine.tables import TABLES

if TYPE_CHECKING:
    from engine.generate import Backend
    from engine.generate.answering import Answering
    from engine.generate.cast import Setup

# settings that say which answers are asked, or that each row carries itself, or that hold for all actors (seed)
_OTHERS = frozenset({"samples", "share", "until", "judge", "finals", "ceiling", "seed", "round", "temperature", "top_p"})


class Paid:
    """What the lake has of one actor's answers in this round; `taken` counts those that were used."""

    def __init__(self, step: Answering, ctx: Context, how: Setup, backend: Backend) -> None:
        self._job, self.taken = backend.job, 0
        self._rows = _rows(step, ctx, how, backend) if backend.uses_sampler else TABLES["generations"].columns.empty_table()

    def answers(self, asks: pa.Table, ask: Callable[[pa.Table], pa.Table]) -> pa.Table:
        """The answers to `asks`: those that the lake has, and those of `ask` to whatever is left."""
        wanted = asked(self._job, asks)
        keys = {(*pair, how.temperature, how.top_p) for pair, how in zip(wanted.pairs, wanted.samplers, strict=True)}
        columns = (self._rows[name].to_pylist() for name in ("prompt_id", "sample", "temperature", "top_p"))
        had = self._rows.filter(pa.array([key in keys for key in zip(*columns, strict=True)], pa.bool_()))
        if not had.num_rows:
            return ask(asks)
        self.taken += had.num_rows
        left = without(self._job, asks, set(zip(had["prompt_id"].to_pylist(), had["sample"].to_pylist(), strict=True)))
        return pa.concat_tables([had, ask(left)]) if left.num_rows else had


def _rows(step: Answering, ctx: Context, how: Setup, backend: Backend) -> pa.Table:
    """The actor's rows of the run before, none where anything that they depend on is another now."""
    name, rounds = ctx.spec.experiment, [ctx.round]
    none = TABLES["generations"].columns.empty_table()
    ledger = ctx.lake.read("steps", experiment=name, rounds=rounds, part=step.name, columns=["ingredients", "detail"]).to_pylist()
    if not ledger or not _same(step, ctx, how, backend, json.loads(ledger[0]["ingredients"])):
        return none
    rows = own_columns(ctx.lake.read("generations", experiment=name, rounds=rounds, part=step.part))
    if content_hash("generations", rows) != json.loads(ledger[0]["detail"])["hashes"].get(f"generations/{step.part}"):
        return none
    model = backend.job.model
    mine = pc.and_(pc.equal(rows["actor"], how.actor), pc.not_equal(rows["finish_reason"], "error"))
    return rows.filter(mine if model is None else pc.and_(mine, pc.equal(rows["model"], model.digest)))


def _same(step: Answering, ctx: Context, how: Setup, backend: Backend, made: dict[str, Any]) -> bool:
    """Whether the actor would give the answers of the run whose ingredients were `made`."""
    old, new = made["settings"], step.actor_settings(how, ctx.spec, ctx.spec_path)
    if made["revision"] != step.revision or old.get("seed", ctx.spec.seed) != ctx.spec.seed:
        return False
    if backend.needs_model and ("device" not in made or Device(**made["device"]) != ctx.device):
        return False
    before = next((one for one in old.get("actors", [old]) if one.get("actor") == how.actor), None)
    return before is not None and _own(before) == _own(new)


def _own(settings: dict[str, Any]) -> str:
    return canonical({name: value for name, value in settings.items() if name not in _OTHERS})
