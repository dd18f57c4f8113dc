"""How a training goes on from earlier rounds: shapes of the learning rate, held-out rows, replay, and what of the model stays as it is."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import model_validator

from engine.parts.part import F, Part

CUMULATIVE = "cumulative"


class Shape(Part):
    """Numbers of a schedule; each says which schedules look at it."""

    decay_share: float = F(0.1, "wsd, infinite, power: share of the steps, at the end, in which the rate falls", ge=0, le=1)
    half_life: float | None = F(None, "wsd: steps in which the falling rate halves; none: it falls linearly to min_lr_ratio", "steps", gt=0)
    constant: float = F(0.5, "infinite: the long constant rate, as a share of the peak", gt=0, le=1)
    cooldown_steps: int = F(0, "infinite: steps from the peak down to `constant`", "steps", ge=0)
    cooldown: Literal["cosine", "inverse_sqrt"] = F("cosine", "infinite: form of that fall")
    d: float = F(0.5, "rex: 0 is linear, towards 1 the rate falls late", ge=0, lt=1)
    a: float = F(4.0, "power: factor", gt=0)
    b: float = F(-0.51, "power: exponent of the tokens trained on", lt=0)
    norm_power: float = F(2.0, "refined: a step's weight is its gradient norm to minus this power (2 for SGD)", ge=0)
    window: int = F(5, "refined: logged norms whose median smooths each", "entries", gt=0)


class EarlyStop(Part):
    """Rows that never train, whose loss says when to stop."""

    share: float = F(0.05, "share of the rows, chosen by their id alone: the same row is held out in every round", gt=0, lt=1)
    every: int = F(20, "steps between two looks at their loss", "steps", gt=0)
    patience: int = F(3, "looks in a row without a new best loss after which the training stops", "looks", gt=0)
    min_delta: float = F(0.0, "a new best is lower than the best so far by more than this", "nats", ge=0)
    keep: Literal["best", "last"] = F("best", "weights of the best look, or of the last step")


class Replay(Part):
    """Rows of earlier rounds that train again beside those of the round."""

    share: float = F(..., "share of the rows that train; with of: history, share of the earlier rows", gt=0, lt=1)
    of: Literal["training", "history"] = F("training", "what `share` is a share of")
    schedule: Literal["constant", "linear", "cosine"] = F("constant", "how the share goes over the rounds")
    to: float | None = F(None, "share of the last round; needed for linear and cosine", ge=0, lt=1)
    source: str = F(CUMULATIVE, "rounds to draw from: all and the base (cumulative), or the N before this one (last-N)")
    short: Literal["error", "take-all"] = F("error", "where there are fewer earlier rows than asked for")

    @model_validator(mode="after")
    def _moves(self) -> Replay:
        if (self.schedule == "constant") != (self.to is None):
            raise ValueError("to: the share of the last round, for schedule linear or cosine and for no other")
        if not re.fullmatch(r"cumulative|last-[1-9]\d*", self.source):
            raise ValueError(f"source: expected 'cumulative' or 'last-N', found {self.source!r}")
        return self


class Half(Part):
    """Half fine-tuning: half of the matrices train, chosen anew in every round."""

    embeddings: Literal["train", "freeze"] = F("train", "embeddings and the output head")
    norms: Literal["half", "train"] = F("half", "norms: half of them train, or all")
