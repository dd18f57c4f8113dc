"""The learning rate over optimizer steps, as a share of its peak: pure functions of the step, the steps planned and what came before.

Every schedule rises linearly over `warmup_steps`, or `warmup_share` of its steps (never from 0, so no step is wasted), then:

- linear, cosine (Loshchilov and Hutter, "SGDR", ICLR 2017), constant: down to `min_lr_ratio`, which step `total` would reach, or not.
- wsd (MiniCPM, arXiv 2404.06395): stays, and over the last `decay_share` falls: 0.5^((s - S) / half_life), or linearly.
- infinite (Ibrahim et al., arXiv 2403.08763): cools down to `constant`, stays there, and over the last share anneals exponentially.
- power (Shen et al., arXiv 2408.13359): min(peak, batch a n^b) over n tokens, then falls linearly over the last share.
- rex (Chen et al., "REX: revisiting budgeted training", MLSys 2022): u / ((1 - d) + d u) with u the share of steps left.
- refined (Defazio et al., arXiv 2310.07831): w_t sum_{s > t} w_s with w = norm^-p, from the gradient norms of an earlier training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from engine.spec import Optimizer
from engine.train.past import Past

ALPHA = 10.0  # how steeply the inverse square root of `infinite` falls at first (arXiv 2403.08763)
FLAT = 1e-3  # a norm counts as at least this share of the median: one that is 0 would take the whole schedule


@dataclass(frozen=True)
class Place:
    """A step of a schedule. `at` of `end` steps, warm-up included, of which the last `decay` fall; `tokens` are trained on after it."""

    at: int
    end: int
    decay: int
    tokens: float
    how: Optimizer
    norms: tuple[float, ...]

    @property
    def past(self) -> float:
        """The share of the way from the end of the warm-up to the end, in [0, 1]."""
        return min(1.0, (self.at - self.how.warmup_steps) / max(1, self.end - self.how.warmup_steps))

    @property
    def falls(self) -> int:
        """Steps into the decay; negative before it."""
        return self.at - (self.end - self.decay)

    def floored(self, share: float) -> float:
        """`share` in [0, 1] mapped to the span from `min_lr_ratio` to 1."""
        return self.how.min_lr_ratio + (1 - self.how.min_lr_ratio) * share


def learning_rate_ratio(step: int, total: int, how: Optimizer, past: Past | None = None, tokens: float = 0.0) -> float:
    """The share of the peak learning rate at optimizer step `step` (from 0) of `total`; see the file for the schedules.

    `past` is what a schedule that goes on over rounds continues from; `tokens` the mean number of tokens a step (power).
    """
    past = past or Past()
    place = placed(step, total, how, past, tokens)
    if place.at < place.how.warmup_steps:
        rise = (place.at + 1) / (place.how.warmup_steps + 1)
        return rise * (min(1.0, _power_law(place)) if how.schedule == "power" else 1.0)
    return SCHEDULES[how.schedule](place)


def placed(step: int, total: int, how: Optimizer, past: Past, tokens: float = 0.0) -> Place:
    """Where a step of this training stands in its schedule. A schedule over rounds takes the rounds to come to be as long as this one."""
    end = past.steps + total * past.rounds
    span = total if past.decays else end
    decay = max(1, round(how.shape.decay_share * span)) if how.shape.decay_share else 0
    if how.warmup_share:
        how = how.model_copy(update={"warmup_steps": max(1, round(how.warmup_share * span))})
    return Place(past.steps + step, end, decay, past.tokens + (step + 1) * tokens, how, past.norms)


def _linear(place: Place) -> float:
    return place.floored(1 - place.past)


def _cosine(place: Place) -> float:
    return place.floored(0.5 * (1 + math.cos(math.pi * place.past)))


def _constant(place: Place) -> float:
    return 1.0


def _wsd(place: Place) -> float:
    if place.falls < 0:
        return 1.0
    if place.how.shape.half_life:
        return max(place.how.min_lr_ratio, 0.5 ** (place.falls / place.how.shape.half_life))
    return place.floored(1 - place.falls / max(1, place.decay))


def _infinite(place: Place) -> float:
    shape, into = place.how.shape, place.at - place.how.warmup_steps
    if into < shape.cooldown_steps:
        share = into / shape.cooldown_steps
        if shape.cooldown == "cosine":
            level = shape.constant + (1 - shape.constant) * 0.5 * (1 + math.cos(math.pi * share))
        else:
            level = 1 + (shape.constant - 1) * ((1 + ALPHA * share) ** -0.5 - 1) / ((1 + ALPHA) ** -0.5 - 1)
    else:
        level = shape.constant
    if place.falls < 0 or not place.decay:
        return level
    return level * (place.how.min_lr_ratio / shape.constant) ** (place.falls / place.decay)


def _power_law(place: Place) -> float:
    """batch a n^b as a share of the peak learning rate, not yet capped at it."""
    shape = place.how.shape
    return place.how.batch_size * shape.a * max(place.tokens, 1.0) ** shape.b / place.how.learning_rate


def _power(place: Place) -> float:
    level = min(1.0, _power_law(place))
    return level if place.falls < 0 or not place.decay else level * place.floored(1 - place.falls / place.decay)


def _rex(place: Place) -> float:
    left, d = 1 - place.past, place.how.shape.d
    return place.floored(left / ((1 - d) + d * left))


def _refined(place: Place) -> float:
    if not place.norms:  # nothing was trained yet: the best that is known without norms
        return _linear(place)
    found = refined(place.norms, place.end, place.how.shape.norm_power, place.how.shape.window)
    return place.floored(found[min(place.at, place.end - 1)])


SCHEDULES: dict[str, Callable[[Place], float]] = {
    "linear": _linear,
    "cosine": _cosine,
    "constant": _constant,
    "wsd": _wsd,
    "infinite": _infinite,
    "power": _power,
    "rex": _rex,
    "refined": _refined,
}


@lru_cache(maxsize=8)
def refined(norms: tuple[float, ...], total: int, power: float = 2.0, window: int = 1) -> tuple[float, ...]:
    """Shares of the peak for `total` steps, the largest 1 and the last 0, from gradient norms in order (evenly spread over the steps).

    Each norm is first replaced by the median of the `window` around it. Equal norms give linear decay, large early ones a warm-up.
    """
    half, values = window // 2, np.array(norms, dtype=np.float64)
    smooth = np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])
    smooth = np.maximum(smooth, FLAT * np.median(smooth))
    if total == 1 or not smooth.all():
        return (1.0,) * total
    places = (np.arange(total) + 0.5) / total
    weights = np.interp(places, (np.arange(len(smooth)) + 0.5) / len(smooth), smooth) ** -power
    after = np.concatenate([np.cumsum(weights[::-1])[::-1][1:], [0.0]])
    found = weights * after
    return tuple((found / found.max()).tolist())
