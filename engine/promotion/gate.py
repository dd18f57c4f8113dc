"""The gate: conditions on metrics of the gate split that a checkpoint must meet."""

from __future__ import annotations

from engine.errors import StepError
from engine.spec import Condition

Metrics = dict[str, float]


def judge(conditions: tuple[Condition, ...], candidate: Metrics, others: dict[str, Metrics]) -> tuple[bool, str]:
    """Whether all conditions hold, and the reason in words.

    `others` maps previous, base and best to the gate metrics of those checkpoints. StepError for a metric that was
    not measured.
    """
    if not conditions:
        return True, "no conditions"
    told: list[str] = []
    passed = True
    for condition in conditions:
        value = _value(condition.metric, candidate, "this checkpoint")
        if condition.min is not None:
            passed &= _tell(told, f"{condition.metric} {value:.4g} >= {condition.min:.4g}", value >= condition.min)
        if condition.max is not None:
            passed &= _tell(told, f"{condition.metric} {value:.4g} <= {condition.max:.4g}", value <= condition.max)
        if condition.min_delta is not None:
            other = _value(condition.metric, others[condition.against], condition.against)
            rise = value - other
            text = f"{condition.metric} {value:.4g} - {condition.against} {other:.4g} = {rise:+.4g} >= {condition.min_delta:+.4g}"
            passed &= _tell(told, text, rise >= condition.min_delta)
    return passed, "; ".join(told)


def _tell(told: list[str], text: str, holds: bool) -> bool:
    told.append(text if holds else f"not {text}")
    return holds


def _value(metric: str, values: Metrics, whose: str) -> float:
    if metric not in values:
        raise StepError(f"gate: metric {metric!r} of {whose} was not measured on the gate split", hint="add it to evaluate.metrics")
    return values[metric]
