"""How many candidates a picker takes: a number, or a share of them."""

from __future__ import annotations

from fractions import Fraction

from pydantic import Field, model_validator

from engine.params import Params


class Budget(Params):
    """Settings of a picker that takes a fixed number of candidates."""

    budget: int | None = Field(None, gt=0, description="candidates that are picked; more than there are: all")
    share: float | None = Field(None, gt=0, le=1, description="or the share of the candidates that is picked, rounded down, at least one")

    @model_validator(mode="after")
    def _one(self) -> Budget:
        if (self.budget is None) == (self.share is None):
            raise ValueError("give either `budget` or `share`")
        return self

    def of(self, candidates: int) -> int:
        """How many of so many candidates are picked."""
        if self.budget is not None:
            return min(self.budget, candidates)
        assert self.share is not None
        # a share is meant as written: 0.07 of 100 is 7, though 0.07 * 100 rounds above it
        return max(1, int(Fraction(str(self.share)) * candidates)) if candidates else 0
