"""Checkpoints that are made of other checkpoints."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from engine.parts.part import F, Part, Slug


class Merge(Part):
    """One merge of a round: its result is the round's checkpoint of `role`."""

    role: Slug = F("policy", "the model that this makes; no entry of `train` may have the same role")
    method: str = F(..., "method of engine/merge/methods")
    of: tuple[Slug, ...] = F(
        ...,
        "models: previous, base, own, policy-N (the policy of N rounds ago), or roles, whose checkpoints of this round they are",
        min_length=1,
    )
    base: Slug | None = F(None, "the model that differences are taken from, where the method has one; named as in `of`")
    weights: tuple[float, ...] | None = F(None, "one for each of `of`; none: all equal")
    params: dict[str, Any] = F({}, "settings of the method's own")

    @property
    def sources(self) -> list[str]:
        """Every model that the entry names."""
        return sorted({*self.of, *([self.base] if self.base else [])})

    @model_validator(mode="after")
    def _whole(self) -> Merge:
        if len(set(self.of)) < len(self.of):
            raise ValueError(f"of: a model stands twice in {list(self.of)}; give it a higher weight")
        if self.role in self.sources:
            raise ValueError(f"of, base: {self.role!r} is the role that this makes; `own` is its checkpoint of an earlier round")
        if self.weights is not None and len(self.weights) != len(self.of):
            raise ValueError(f"weights: expected one for each of {list(self.of)}, found {len(self.weights)}")
        return self
