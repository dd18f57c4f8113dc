"""PoFT's anchor: the mean over several models of the mean log-probability that each gives an answer's tokens.

Source: Fan et al., "Preference-Oriented Supervised Fine-Tuning", arXiv 2412.12865: the policy is trained to prefer an answer more
than aligned models do. Every model reads by its own chat template and tokenizer; an answer that one of them has no number for has
no anchor.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field, field_validator

from engine.score import forced
from engine.score.measures import Measure, measures
from engine.spec import Spec
from engine.step import Context, Ref


class AnchorParams(forced.Reading):
    """Which models, and how they read."""

    models: tuple[str, ...] = Field(..., min_length=1, description="the aligned models: folders relative to the spec, policy or base")
    chat: bool | None = Field(None, description="whether a model's chat template shows the prompt; none: where it has one")

    @field_validator("models")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"a model stands twice in {list(names)}")
        return names


@measures.register("anchor")
class Anchor(Measure):
    """Column <name>: nats a token, 12 decimals of a mean of numbers with 4. Null, with a detail, where a model has no number."""

    on_device = True
    per_answer = True
    Params = AnchorParams

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return list(dict.fromkeys(ref for name in self.params.models for ref in forced.Named(name).reads(spec, round_)))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        own = [forced.Named(name).settings(spec, spec_path) for name in self.params.models]
        return {"models": own, "trust_remote_code": spec.models.trust_remote_code}

    def versions(self, ctx: Context) -> list[str]:
        return [forced.Named(name).model(ctx).digest for name in self.params.models]

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        means, why = [], []
        for name in self.params.models:
            model, label = forced.Named(name).model(ctx), f"anchor ({name})"
            found = forced.likelihood(ctx, rows, model, self.params, label, chat=self.params.chat)
            means.append(found["mean"].to_pylist())
            why.append([None if reason is None else f"{name}: {reason}" for reason in found["detail"].to_pylist()])
        values = [anchor(own) for own in zip(*means, strict=True)]
        detail = ["; ".join(reason for reason in own if reason) or None for own in zip(*why, strict=True)]
        columns = {"item_id": rows["generation_id"], "value": pa.array(values, pa.float64()), "detail": pa.array(detail, pa.string())}
        return {"": pa.table(columns)}


def anchor(means: tuple[float | None, ...]) -> float | None:
    """The mean of the models' means; None where one is missing."""
    known = [value for value in means if value is not None]
    return round(math.fsum(known) / len(known), 12) if len(known) == len(means) else None
