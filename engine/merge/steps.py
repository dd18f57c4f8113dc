"""The steps of the merge room: `checkpoint` where the policy is merged, `checkpoint_<role>` for every other role."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.merge import Job, folders, merger
from engine.spec import Merge, Spec
from engine.step import BASE, POLICY, Context, Output, Ref, Step
from engine.tables import TABLES
from engine.train import checkpoint, sources


class MergeStep(Step):
    """Makes the round's checkpoint of one role of other checkpoints. Its parents are those; no row trains it."""

    table, on_device, revision = "checkpoints", True, 1

    def __init__(self, role: str) -> None:
        self.role = self.part = role
        self.name = "checkpoint" if role == POLICY else f"checkpoint_{role}"

    def active(self, spec: Spec, round_: int) -> bool:
        """Where the round's spec merges this role; never at the base."""
        return round_ != BASE and any(entry.role == self.role for entry in spec.merge)

    def writes(self) -> list[tuple[str, str]]:
        return [(table, self.role) for table in ("checkpoints", "trained_rows", "training_log")]

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        entry = self._entry(spec)
        refs = [ref for name in (*entry.of, *([entry.base] if entry.base else [])) for ref in sources.refs(name, self.role)]
        return list(dict.fromkeys([*refs, *merger(entry).refs(spec)]))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        entry = self._entry(spec)
        method = merger(entry)
        return {
            "merge": entry.model_dump(mode="json") | {"params": method.params.model_dump(mode="json")},
            "method_revision": method.revision,
            **method.settings(spec, spec_path),
            "seed": spec.seed,
            "round": round_,
        }

    def run(self, ctx: Context) -> Output:
        """One checkpoint. ModelError, naming file and tensor, where the models do not fit each other."""
        start, entry = time.monotonic(), self._entry(ctx.spec)
        checkpoint.ready(ctx.home)
        scratch = ctx.journal / "whole"
        shutil.rmtree(scratch, ignore_errors=True)  # what a killed process left may be half a model
        found = {name: sources.model(ctx, name, self.role) for name in (*entry.of, *([entry.base] if entry.base else []))}
        wholes = {
            name: folders.whole(name, model.path, model.digest, scratch, ctx.spec.models.trust_remote_code) for name, model in found.items()
        }
        method = merger(entry)
        folders.check(list(wholes.values()), method.same_config)
        job = Job(
            entry=entry,
            members={name: wholes[name] for name in entry.of},
            base=wholes[entry.base] if entry.base else None,
            dtype=ctx.device.dtype,
            out=checkpoint.staging(ctx.journal),
            ctx=ctx,
            label=self.name,
        )
        detail = method.merge(job)
        kept = [name for name in found if name not in entry.of or name in detail.get("soup", entry.of)]
        parents = list(dict.fromkeys(found[name].digest for name in kept))
        settings = self.settings(ctx.spec, ctx.round, ctx.spec_path)
        card = {
            "role": self.role,
            "round": ctx.round,
            "parents": parents,
            "objective": f"merge:{entry.method}",
            "settings": settings,
            "inputs": ctx.inputs(),
            "packages": checkpoint.packages(),
            "attempt": ctx.attempt,
            "at": datetime.now(UTC).isoformat(),
        }
        digest, folder = checkpoint.publish(ctx.home, job.out, card)
        row = checkpoint.row(
            ctx,
            role=self.role,
            digest=digest,
            folder=folder,
            parents=parents,
            objective=f"merge:{entry.method}",
            settings=settings,
            seconds=time.monotonic() - start,
        )
        return Output(self._tables(row), len(found), {"digest": digest, **detail})

    def _entry(self, spec: Spec) -> Merge:
        return next(entry for entry in spec.merge if entry.role == self.role)

    def _tables(self, row: dict[str, Any]) -> dict[tuple[str, str], pa.Table]:
        """The one row; nothing trained, so nothing was consumed or logged."""
        empty = {(table, self.role): TABLES[table].columns.empty_table() for table in ("trained_rows", "training_log")}
        return {("checkpoints", self.role): pa.Table.from_pylist([row], schema=TABLES["checkpoints"].columns), **empty}


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """One step a role that is merged."""
    return [MergeStep(entry.role) for entry in spec.merge]
