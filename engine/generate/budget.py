"""How much each prompt of a round is asked, and how: the spec's settings with those of a plan over them.

A plan's rows with the keys `temperature` and `top_p` hold for all prompts; `samples`, `right`, `wrong` and `cap` for all
(item_id null) or for one prompt (item_id). Other keys are for whoever reads the plan.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from engine.errors import StepError
from engine.ids import canonical
from engine.spec import Generate, Until

FOR_ALL = ("temperature", "top_p")
COUNTS = {"samples": 0, "right": 1, "wrong": 1, "cap": 1}  # and the smallest value of each


@dataclass(frozen=True)
class Target:
    """When a prompt is done: `right` right and `wrong` wrong answers (None: none are asked for), or `cap` trials."""

    right: int | None
    wrong: int | None
    cap: int

    def done(self, trials: int, right: int, wrong: int) -> bool:
        """Whether a prompt needs no more trials. Without targets it gets all of them."""
        if trials >= self.cap:
            return True
        wanted = [(self.right, right), (self.wrong, wrong)]
        return any(want is not None for want, _ in wanted) and all(want is None or has >= want for want, has in wanted)


@dataclass
class Budget:
    """The round's sampler, and samples or targets by prompt."""

    sampler: Generate
    until: Until | None
    every: dict[str, int | None]
    own: dict[str, dict[str, int]] = field(default_factory=dict)
    planned: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: Generate, plan: Iterable[dict[str, Any]], prompts: Iterable[str], step: str) -> Budget:
        """From rows of the table `plan` (key, item_id, value as JSON). StepError names key, item and value of a wrong one.

        Rows about prompts that the round does not have are counted in `planned`, not an error.
        """
        known, changed = set(prompts), dict[str, float]()
        made = cls(spec, spec.until, {"samples": spec.samples, "right": None, "wrong": None, "cap": None})
        if spec.until:
            made.every |= {"right": spec.until.right, "wrong": spec.until.wrong, "cap": spec.until.cap}
        other: set[str] = set()
        for row in plan:
            key, item = row["key"], row["item_id"]
            if key in FOR_ALL:
                changed[key] = _share(row, step)
            elif key not in COUNTS:
                other.add(key)
            elif _fits(row, spec.until, step) and item is None:
                made.every[key] = _count(row, step)
            elif item in known:
                made.own.setdefault(item, {})[key] = _count(row, step)
            else:
                _count(row, step)
                made.planned["prompts_not_in_round"] = made.planned.get("prompts_not_in_round", 0) + 1
        made.sampler = spec.model_copy(update=changed)
        made.planned |= changed | ({"keys_for_others": sorted(other)} if other else {})
        return made

    def samples(self, prompt: str) -> int:
        """Answers to a prompt where there is no `until`."""
        return self.own.get(prompt, {}).get("samples", self.every["samples"]) or 0

    def target(self, prompt: str) -> Target:
        """When a prompt is done where there is `until`."""
        values = self.every | self.own.get(prompt, {})
        cap = values["cap"]
        assert cap is not None
        return Target(values["right"], values["wrong"], cap)


def _fits(row: dict[str, Any], until: Until | None, step: str) -> bool:
    """True; StepError for a count that the way of asking has no use for."""
    if (row["key"] == "samples") == (until is None):
        return True
    text = f"{step}: {_told(row)}: generate.until " + ("is not set" if until is None else "is set and replaces `samples`")
    hint = "set generate.until (its cap and bar)" if until is None else "plan `cap`, or leave generate.until out"
    raise StepError(text, where="generate.plan", hint=hint)


def _value(row: dict[str, Any], step: str, expected: str) -> float:
    try:
        value = json.loads(row["value"])
    except json.JSONDecodeError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise StepError(f"{step}: {_told(row)}: expected {expected}", where="generate.plan", hint="cast it in the plan's SQL")
    return value


def _count(row: dict[str, Any], step: str) -> int:
    least = COUNTS[row["key"]]
    value = _value(row, step, f"a whole number from {least} up")
    if value != int(value) or value < least:
        text = f"{step}: {_told(row)}: expected a whole number from {least} up"
        raise StepError(text, where="generate.plan", hint="see the plan with `rondo sql`")
    return int(value)


def _share(row: dict[str, Any], step: str) -> float:
    expected = "a number from 0 up" if row["key"] == "temperature" else "a number above 0, at most 1"
    value = _value(row, step, expected)
    if row["item_id"] is not None:
        text = f"{step}: {_told(row)}: it holds for all prompts"
        raise StepError(text, where="generate.plan", hint="give it once, with item_id null")
    if not (value >= 0 if row["key"] == "temperature" else 0 < value <= 1):
        raise StepError(f"{step}: {_told(row)}: expected {expected}", where="generate.plan", hint="see the plan with `rondo sql`")
    return float(value)


def _told(row: dict[str, Any]) -> str:
    item = "all prompts" if row["item_id"] is None else f"item {row['item_id']!r}"
    return f"the plan's {row['key']} of {item} is {row['value'] if isinstance(row['value'], str) else canonical(row['value'])}"
