"""How far reward models disagree about an answer: several of them, or one with Monte Carlo dropout.

Sources: disagreement of an ensemble as in Coste et al., "Reward Model Ensembles Help Mitigate Overoptimization", arXiv 2310.02743;
passes with dropout and their information gain as in UPO (arXiv 2409.11212), there of a classifier of pairs: see the comparer
`preference_model`. Dropout belongs to the model's own dropout layers; without any, `sites: linear` drops where LoRA has its dropout,
which here lies on the whole weight and not on the adapter's branch alone.
"""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from engine.score import forced, heads
from engine.score.heads import bald
from engine.score.measures import Measure, measures
from engine.score.measures.reward_model import logistic
from engine.spec import Spec
from engine.step import Context, Ref


class UncertaintyParams(heads.Shown, heads.Dropout):
    """Which models, and what of their numbers."""

    models: tuple[str, ...] = Field(..., min_length=1, description="roles or folders with reward models of one output")
    statistic: Literal["std", "variance", "bald"] = Field(
        "std", description="of all models and passes: standard deviation, variance, or information gain of the rewards' sigmoids in nats"
    )

    @model_validator(mode="after")
    def _several(self) -> UncertaintyParams:
        if len(self.models) == 1 and not self.passes:
            raise ValueError("models: one model agrees with itself; name more, or give `passes` with dropout")
        if len(set(self.models)) < len(self.models):
            raise ValueError(f"models: a folder stands twice in {list(self.models)}")
        return self


@measures.register("uncertainty")
class Uncertainty(Measure):
    """Columns <name>: disagreement, and <name>_mean: the mean reward. Null, with a detail, where a row is too long for a model."""

    outputs = ("", "_mean")
    on_device = True
    per_answer = True
    Params = UncertaintyParams

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return list(dict.fromkeys(ref for name in self.params.models for ref in forced.Named(name).reads(spec, round_)))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        own = [heads.settings(spec, name, spec_path, (1,), "uncertainty", self.params) for name in self.params.models]
        return {"models": own} | ({"seed": spec.seed} if self.params.passes else {})

    def versions(self, ctx: Context) -> list[str]:
        return [forced.Named(name).model(ctx).digest for name in self.params.models]

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        rewards: list[list[float]] = [[] for _ in range(rows.num_rows)]
        why: list[list[str]] = [[] for _ in range(rows.num_rows)]
        for name in self.params.models:
            for i, (values, reason) in enumerate(self._rewards(ctx, rows, name)):
                rewards[i] += values
                why[i] += [f"{name}: {reason}"] if reason else []
            gc.collect()  # one model at a time in memory
        detail = pa.array(["; ".join(reasons) or None for reasons in why], pa.string())
        spread = [None if why[i] else self._spread(own) for i, own in enumerate(rewards)]
        means = [None if why[i] else bald.mean(own) for i, own in enumerate(rewards)]
        return {
            suffix: pa.table({"item_id": rows["generation_id"], "value": pa.array(values, pa.float64()), "detail": detail})
            for suffix, values in zip(self.outputs, (spread, means), strict=True)
        }

    def _rewards(self, ctx: Context, rows: pa.Table, name: str) -> list[tuple[list[float], str | None]]:
        """The rewards of each row by one model, pass by pass, or why there is none."""
        from engine.score.heads.classifier import Classifier
        from engine.score.heads.dropout import Dropping
        from engine.score.heads.reading import read

        params: UncertaintyParams = self.params
        classifier = Classifier(ctx, forced.Named(name).model(ctx), params)
        dropping = Dropping(params.passes, ctx.spec.seed, params.sites, params.dropout) if params.passes else None
        chats, answers = rows["messages"].to_pylist(), rows["response"].to_pylist()
        texts = [classifier.shown(chat, answer) for chat, answer in zip(chats, answers, strict=True)]
        found = read(ctx, classifier, texts, label=f"uncertainty ({name})", journal=ctx.journal, dropping=dropping)
        return [([row[0] for row in one.passes or []], one.detail) for one in found]

    def _spread(self, rewards: list[float]) -> float:
        if self.params.statistic == "bald":
            return bald.bald([logistic(reward) for reward in rewards])
        found = bald.variance(rewards)
        return found if self.params.statistic == "variance" else round(math.sqrt(found), bald.DECIMALS)
