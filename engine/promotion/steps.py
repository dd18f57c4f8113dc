"""The first and the last step of a round: `policy` says which model it runs with, `promotion` decides on its checkpoint."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.errors import StepError
from engine.promotion import Decision
from engine.promotion import stop as stopping
from engine.promotion.gate import Metrics, judge
from engine.rows import only
from engine.spec import Spec
from engine.step import BASE, Context, Output, Ref, Step
from engine.tables import TABLES


class PolicyStep(Step):
    """Reads the decisions: the latest one effective in this round names the policy. Writes no table but the ledger."""

    name, table, part = "policy", None, ""

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return []

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return {}

    def run(self, ctx: Context) -> Output:
        policy = ctx.model("policy")
        return Output({}, 0, {"digest": policy.digest})


class PromotionStep(Step):
    """Always runs and writes promoted or held, with the reason; whether the experiment stops is the runner's business."""

    name, table, part = "promotion", "promotions", "policy"

    def active(self, spec: Spec, round_: int) -> bool:
        return True

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        refs = [Ref("checkpoints", "policy"), Ref("evaluations", "policy")]
        return refs if round_ == BASE else [*refs, Ref("policy"), Ref("evaluations", "policy", "history")]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return {"gate": [condition.model_dump() for condition in spec.gate.require]}

    def run(self, ctx: Context) -> Output:
        candidate = ctx.model("checkpoint")
        if ctx.round == BASE:
            passed, reason = True, "the base"
        else:
            passed, reason = judge(ctx.spec.gate.require, self._metrics(ctx, ctx.round), self._others(ctx))
        decision = Decision(
            ctx.round,
            "policy",
            "promoted" if passed else "held",
            candidate.digest,
            ctx.round + 1,
            reason,
            "gate",
            ctx.opening,
            self._sequence(ctx),
            datetime.now(UTC),
        )
        rows = pa.Table.from_pylist([decision.row()], schema=TABLES["promotions"].columns)
        # The verdict of `stop` is no part of the decision: it stands in the ledger alone, so a changed `stop` is no drift.
        return Output({("promotions", "policy"): rows}, 1, {"decision": decision.decision, "reason": reason} | stopping.verdict(ctx))

    def _sequence(self, ctx: Context) -> int:
        """After every row of this round and of those before, superseded ones included: a reopened round decides once more."""
        past = [ctx.read(Ref("promotions", "policy", when), ["sequence"])["sequence"].to_pylist() for when in ("round", "history")]
        return max([-1, *past[0], *past[1]]) + 1

    def _metrics(self, ctx: Context, round_: int) -> Metrics:
        ref = Ref("evaluations", "policy", "round" if round_ == ctx.round else "history")
        rows = only(ctx.read(ref), round=round_, suite="gate").to_pylist()
        return {row["metric"]: row["value"] for row in rows if row["topic"] is None and row["value"] is not None}

    def _others(self, ctx: Context) -> dict[str, Metrics]:
        """Gate metrics of the policy (previous), the base, and for each metric the best among promoted rounds."""
        counted = [d for d in ctx.decisions() if d.round < ctx.round and d.decision in ("promoted", "forced")]
        rounds = {d.digest: d.round for d in counted}
        policy = ctx.model("policy").digest
        if policy not in rounds:
            raise StepError(f"gate: the policy {policy} has no decision in this experiment", hint="look at `rondo status`")
        best: Metrics = {}
        for round_ in sorted({BASE, *rounds.values()}):
            for metric, value in self._metrics(ctx, round_).items():
                best[metric] = max(best.get(metric, value), value)
        return {"previous": self._metrics(ctx, rounds[policy]), "base": self._metrics(ctx, BASE), "best": best}


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """The steps of this room."""
    return [PolicyStep(), PromotionStep()]
