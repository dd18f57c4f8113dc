"""Mean token loss of every answer under checkpoints of one training, in the order of training.

Source: Yang et al., "SmallToLarge (S2L)", arXiv 2403.07384: rows whose losses fall alike teach alike. The paper's proxy is a
small model whose last 12 checkpoints are kept; here either such folders are named, or the checkpoints are those that this
experiment has promoted so far, the base first and the policy last.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field, field_validator

from engine.context import find_model
from engine.ids import canonical
from engine.promotion import EFFECTIVE
from engine.score import forced
from engine.score.measures import Measure, measures
from engine.spec import Spec
from engine.step import POLICY, Context, Model, Ref


class TrajectoryParams(forced.Reading):
    """Which checkpoints, and how they read."""

    checkpoints: tuple[str, ...] = Field((), description="model folders in the order of training; none: the promoted ones")
    last: int | None = Field(12, gt=0, description="at most that many checkpoints, the last ones; null: all")

    @field_validator("checkpoints")
    @classmethod
    def _folders(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := sorted(set(names) & set(forced.NAMED)):
            raise ValueError(f"checkpoints are folders; leave the list out for the promoted ones, found {wrong}")
        return names


@measures.register("loss_trajectory")
class LossTrajectory(Measure):
    """Column <name>: the last loss (nats a token, 4 decimals); detail: JSON list of all losses. Null where a row is too long."""

    on_device = True
    Params = TrajectoryParams

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        own = [Ref(POLICY), Ref("promotions", POLICY, "history"), Ref("checkpoints", POLICY, "history")]
        return [] if self.params.checkpoints else own

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        digests = [forced.Named(name).settings(spec, spec_path) for name in self._names()]
        return forced.settings(spec) | {"models": digests}

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        from engine.score.reader import Likelihood

        losses, detail = [], pa.nulls(rows.num_rows, pa.string())
        models = self._models(ctx)
        for number, model in enumerate(models, 1):
            reader = forced.load(ctx, model, self.params)
            found = forced.read(
                ctx,
                rows,
                reader,
                lambda reader=reader: Likelihood(reader),  # type: ignore[misc]
                Likelihood.columns,
                label=f"loss under checkpoint {number} of {len(models)}",
                journal=ctx.journal / model.digest,
            )
            losses.append([None if mean is None else 0.0 - mean for mean in found["mean"].to_pylist()])
            detail = found["detail"]
            del reader  # one model at a time in memory
            gc.collect()
        told = [why if None in row else canonical(row) for row, why in zip(zip(*losses, strict=True), detail.to_pylist(), strict=True)]
        values = [None if None in row else row[-1] for row in zip(*losses, strict=True)]
        return {"": pa.table({"item_id": rows["generation_id"], "value": pa.array(values, pa.float64()), "detail": told})}

    def _names(self) -> list[str]:
        names = self.params.checkpoints
        return list(names[-self.params.last :] if self.params.last else names)

    def _models(self, ctx: Context) -> list[Model]:
        """The checkpoints in order of training; of equal ones the first counts, but the policy stands last."""
        if self.params.checkpoints:
            return [forced.Named(name).model(ctx) for name in self._names()]
        policy = ctx.model("policy").digest
        past = [d.digest for d in ctx.decisions() if d.role == POLICY and d.decision in EFFECTIVE and d.effective_round <= ctx.round]
        digests = [digest for digest in dict.fromkeys(past) if digest != policy] + [policy]
        digests = digests[-self.params.last :] if self.params.last else digests
        return [find_model(ctx.lake, ctx.home, ctx.spec.experiment, digest) for digest in digests]
