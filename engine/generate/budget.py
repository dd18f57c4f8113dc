"""How much each prompt of a round is asked, and how: the spec's settings with those of a plan over them.

A plan's rows with the keys `temperature`, `top_p`, `samples`, `right`, `wrong` and `cap` hold for all prompts (item_id null) or for
one prompt (item_id), whose own rows come first. Other keys are for whoever reads the plan.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from engine.errors import StepError
from engine.ids import canonical
from engine.spec import Generate, Until

DRAWS = ("temperature", "top_p")
COUNTS = {"samples": 0, "right": 1, "wrong": 1, "cap": 1}  # and the smallest value of each


@dataclass(frozen=True)
class Target:
    """When a prompt is done: `right` right and `wrong` wrong answers (None: none are asked for), `cap` trials, or `agree` answers of
    which none differs from another (None: agreement ends nothing)."""

    right: int | None
    wrong: int | None
    cap: int
    agree: int | None = None

    def done(self, trials: int, right: int, wrong: int) -> bool:
        """Whether a prompt needs no more trials, agreement aside. Without targets it gets all of them."""
        if trials >= self.cap:
            return True
        wanted = [(self.right, right), (self.wrong, wrong)]
        return any(want is not None for want, _ in wanted) and all(want is None or has >= want for want, has in wanted)


@dataclass
class Budget:
    """The round's sampler, and by prompt samples or targets, and what of the sampler is its own."""

    sampler: Generate
    until: Until | None
    every: dict[str, int | None]
    own: dict[str, dict[str, int]] = field(default_factory=dict)
    drawn: dict[str, dict[str, float]] = field(default_factory=dict)
    planned: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: Generate, plan: Iterable[dict[str, Any]], prompts: Iterable[str], step: str, judged: bool = True) -> Budget:
        """From rows of the table `plan` (key, item_id, value as JSON). StepError names key, item and value of a wrong one, and
        one that counts right or wrong answers where none is `judged`.

        Rows about prompts that the round does not have are counted in `planned`, not an error.
        """
        known, changed = set(prompts), dict[str, float]()
        made = cls(spec, spec.until, {"samples": spec.samples, "right": None, "wrong": None, "cap": None})
        if spec.until:
            made.every |= {"right": spec.until.right, "wrong": spec.until.wrong, "cap": spec.until.cap}
        other: set[str] = set()
        for row in plan:
            key, item = row["key"], row["item_id"]
            if key not in (*DRAWS, *COUNTS):
                other.add(key)
                continue
            value = _draw(row, step) if key in DRAWS else _count(row, spec.until, judged, step)
            if item is not None and item not in known:
                made.planned["prompts_not_in_round"] = made.planned.get("prompts_not_in_round", 0) + 1
            elif key in DRAWS and item is None:
                changed[key] = value
            elif key in DRAWS:
                made.drawn.setdefault(item, {})[key] = value
            elif item is None:
                made.every[key] = int(value)
            else:
                made.own.setdefault(item, {})[key] = int(value)
        made.sampler = spec.model_copy(update=changed)
        made.planned |= changed | ({"prompts_with_own_sampler": len(made.drawn)} if made.drawn else {})
        made.planned |= {"keys_for_others": sorted(other)} if other else {}
        return made

    def with_sampler(self, asks: pa.Table) -> pa.Table:
        """`asks` with a column for each setting of the sampler that some prompts have of their own, null for the others."""
        prompts = asks["prompt_id"].to_pylist()
        for key in DRAWS:
            values = [self.drawn.get(prompt, {}).get(key) for prompt in prompts]
            if any(value is not None for value in values):
                asks = asks.append_column(key, pa.array(values, pa.float64()))
        return asks

    def samples(self, prompt: str) -> int:
        """Answers to a prompt where there is no `until`."""
        return self.own.get(prompt, {}).get("samples", self.every["samples"]) or 0

    def target(self, prompt: str) -> Target:
        """When a prompt is done where there is `until`."""
        values = self.every | self.own.get(prompt, {})
        cap = values["cap"]
        assert cap is not None
        return Target(values["right"], values["wrong"], cap, self.until.agree if self.until else None)


def _require_use(row: dict[str, Any], until: Until | None, judged: bool, step: str) -> None:
    """StepError for a count that the way of asking has no use for."""
    if row["key"] in ("right", "wrong") and until is not None and not judged:
        text = f"{step}: {_told(row)}: nothing says which answers are right"
        raise StepError(text, where="generate.plan", hint="add a verifier to `score`, or plan `cap` alone")
    if (row["key"] == "samples") == (until is None):
        return
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


def _count(row: dict[str, Any], until: Until | None, judged: bool, step: str) -> int:
    _require_use(row, until, judged, step)
    least = COUNTS[row["key"]]
    value = _value(row, step, f"a whole number from {least} up")
    if value != int(value) or value < least:
        text = f"{step}: {_told(row)}: expected a whole number from {least} up"
        raise StepError(text, where="generate.plan", hint="see the plan with `rondo sql`")
    return int(value)


def _draw(row: dict[str, Any], step: str) -> float:
    expected = "a number from 0 up" if row["key"] == "temperature" else "a number above 0, at most 1"
    value = _value(row, step, expected)
    if not (value >= 0 if row["key"] == "temperature" else 0 < value <= 1):
        raise StepError(f"{step}: {_told(row)}: expected {expected}", where="generate.plan", hint="see the plan with `rondo sql`")
    return float(value)


def _told(row: dict[str, Any]) -> str:
    item = "all prompts" if row["item_id"] is None else f"item {row['item_id']!r}"
    return f"the plan's {row['key']} of {item} is {row['value'] if isinstance(row['value'], str) else canonical(row['value'])}"
