"""How a round's prompts are mixed of groups: fixed shares, shares of a plan, or sizes ** (1 / temperature).

Sources: temperature sampling and Cooldown: "Upsample or Upweight? Balanced Training on Heavily Imbalanced
Datasets", arXiv 2410.04579 (the paper lowers the temperature during training; here from round to round, linearly). A fraction of a
group's prompts: "How Abilities in Large Language Models are Affected by Supervised Fine-tuning Data Composition" (DMT),
arXiv 2310.05492, whose second stage keeps 1/256 of the specialised data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from engine.errors import SpecError, StepError
from engine.prompts.build import Row
from engine.prompts.groups import grouping
from engine.registry import nearest
from engine.spec import Mix, Spec
from engine.step import Context, Ref

MANY_PASSES = 10  # the paper sees small groups overfit beyond


def temperature(mix: Mix, round_: int, rounds: int) -> float | None:
    """The temperature of a round, from `temperature` in round 0 to `cooldown` in the last in equal steps."""
    if mix.temperature is None or mix.cooldown is None or rounds < 2:
        return mix.temperature
    way = min(round_, rounds - 1) / (rounds - 1)
    return mix.temperature + (mix.cooldown - mix.temperature) * way


def shares(sizes: Sequence[int], tau: float) -> list[float]:
    """sizes ** (1 / tau), scaled to sum 1; a group without prompts gets none."""
    powers = [math.exp(math.log(size) / tau) if size else 0.0 for size in sizes]
    total = math.fsum(powers)
    return [power / total if total else 0.0 for power in powers]


def fraction_of(share: float, size: int) -> int:
    """`share` of `size` prompts, rounded up, so that any share above 0 keeps one. The share is the decimal number as it is written."""
    return math.ceil(Fraction(repr(share)) * size)


def cluster_part(spec: Spec) -> str:
    """The one entry of `cluster` that is made of the pool. SpecError where there is none, or several."""
    found = [entry.name for entry in spec.cluster if entry.of == "pool" and (entry.k is not None or entry.rule != "fixed")]
    if len(found) != 1:
        raise SpecError(
            f"prompts.mix.by: cluster needs one entry of `cluster` with `of: pool` and clusters, found {len(found)}: {found}",
            hint="for example cluster: [{name: pool, of: pool, k: 100}]",
        )
    return found[0]


def reads(spec: Spec) -> list[Ref]:
    """The parts that a mix reads."""
    mix = spec.prompts.mix
    if mix is None:
        return []
    clusters = [Ref("clusters", cluster_part(spec))] if mix.by == "cluster" else []
    return [*clusters, *([Ref("plan", mix.plan)] if mix.plan else [])]


def groups(ctx: Context, mix: Mix, rows: list[Row]) -> Callable[[Row], str]:
    """A function that gives a prompt's group. StepError for a prompt that has no cluster."""
    if mix.by != "cluster":
        return grouping(rows, mix.by, "prompts.mix.by")
    part = cluster_part(ctx.spec)
    table = ctx.read(Ref("clusters", part), ["item_id", "cluster_id"])
    cluster = dict(zip(table["item_id"].to_pylist(), table["cluster_id"].to_pylist(), strict=True))
    lost = [row["prompt_id"] for row in rows if row["prompt_id"] not in cluster]
    if lost:
        raise StepError(f"prompts: {len(lost)} prompts of the pool have no cluster in {part}, the first is {lost[0]}")
    return lambda row: str(cluster[row["prompt_id"]])


def weights(ctx: Context, mix: Mix, sizes: dict[str, int]) -> tuple[dict[str, float], str]:
    """(weight of each group, in words where it comes from). SpecError or StepError for weights that cannot be used."""
    if mix.weights:
        known(mix.weights, sizes, "prompts.mix.weights")
        return {name: mix.weights.get(name, 0.0) for name in sizes}, "weights"
    if mix.plan:
        planned = _planned(ctx, mix.plan)
        if not planned:
            return dict.fromkeys(sizes, 1.0), f"uniform: plan {mix.plan} is empty"
        return {name: planned.get(name, 0.0) for name in sizes}, f"plan {mix.plan}"
    tau = temperature(mix, ctx.round, ctx.spec.rounds) or 1.0
    return dict(zip(sizes, shares(list(sizes.values()), tau), strict=True)), f"temperature {tau:g}"


def known(names: dict[str, float], sizes: dict[str, int], field: str) -> None:
    """SpecError where a name is no group."""
    for name in names:
        if name not in sizes:
            raise SpecError(f"{field}.{name}: no prompt is in this group", hint=nearest(name, list(sizes)))


def _planned(ctx: Context, part: str) -> dict[str, float]:
    rows = ctx.read(Ref("plan", part), ["key", "item_id", "value"]).to_pylist()
    found = {}
    for row in rows:
        if row["key"] == "weight":
            value = json.loads(row["value"])
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf or row["item_id"] is None:
                text = f"plan {part}: expected weights of 0 or more, each with a group as item_id; found {value!r} of {row['item_id']!r}"
                raise StepError(text, hint="`rondo sql` on the table plan shows its rows")
            found[row["item_id"]] = float(value)
    return found
