"""Which prompts of the pool a round gets: the next in a hash order, of all prompts or group by group."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from engine.allocate import allocate
from engine.errors import DataError
from engine.prompts import mix as mixing
from engine.prompts.build import Row
from engine.randomness import shuffled
from engine.spec import Mix
from engine.step import Context, Ref

HISTORY = Ref("prompts", "train", "history")


def draw(ctx: Context, pool: list[Row]) -> tuple[list[Row], dict[str, Any]]:
    """(the round's prompts, what the ledger says about the mix). DataError where too few prompts are left."""
    prompts = ctx.spec.prompts
    if prompts.mix is not None:
        return _mixed(ctx, pool, prompts.mix)
    if prompts.per_round is None:
        return pool, {}
    left = _left(ctx, pool, _used(ctx, pool))
    if len(left) < prompts.per_round:
        raise _too_few(ctx, len(left), len(pool))
    return left[: prompts.per_round], {}


def _used(ctx: Context, pool: list[Row]) -> Counter[str]:
    """How often earlier rounds used each prompt of the pool."""
    known = {row["prompt_id"] for row in pool}
    return Counter(prompt for prompt in ctx.read(HISTORY, ["prompt_id"])["prompt_id"].to_pylist() if prompt in known)


def _left(ctx: Context, pool: list[Row], used: Counter[str]) -> list[Row]:
    """What may still be drawn, in the order in which it is: the least used come first, so that a new pass starts only when a pass is
    used up."""
    order = shuffled(ctx.spec.seed, 0, "prompts", [row["prompt_id"] for row in pool])
    left = (pool[i] for i in order if used[pool[i]["prompt_id"]] < ctx.spec.prompts.epochs)
    return sorted(left, key=lambda row: used[row["prompt_id"]])


def _too_few(ctx: Context, left: int, pool: int, groups: str = "") -> DataError:
    prompts = ctx.spec.prompts
    passes = f", {prompts.epochs} times each" if prompts.epochs > 1 else ""
    return DataError(
        f"round {ctx.round} needs {prompts.per_round} prompts, {left} are left of {pool} in the pool{passes}{groups}",
        where=str(ctx.spec_path),
        hint=f"add prompts to {prompts.train}, or set prompts.epochs to {prompts.epochs + 1} to use them again",
    )


def _mixed(ctx: Context, pool: list[Row], mix: Mix) -> tuple[list[Row], dict[str, Any]]:
    group = mixing.groups(ctx, mix, pool)
    of = {row["prompt_id"]: group(row) for row in pool}
    present = Counter(of.values())
    mixing.known(mix.fraction, present, "prompts.mix.fraction")
    room = {name: mixing.fraction_of(mix.fraction.get(name, 1.0), present[name]) for name in sorted(present)}
    order = shuffled(ctx.spec.seed, 0, "prompts", [row["prompt_id"] for row in pool])
    taking, seen = [], Counter[str]()
    for i in order:
        name = of[pool[i]["prompt_id"]]
        seen[name] += 1
        if seen[name] <= room[name]:
            taking.append(pool[i])
    if ctx.spec.prompts.per_round is None:
        detail = {name: {"size": present[name], "count": room[name]} for name in room}
        return taking, {"mix": {"by": mix.by, "groups": detail}}
    return _shared(ctx, taking, of, room, mix)


def _shared(ctx: Context, taking: list[Row], of: dict[str, str], room: dict[str, int], mix: Mix) -> tuple[list[Row], dict[str, Any]]:
    """The round's prompts by the groups' weights: counts by largest remainder, what a group has not is offered to the others."""
    count, used = ctx.spec.prompts.per_round or 0, _used(ctx, taking)
    left = _left(ctx, taking, used)
    have = Counter(of[row["prompt_id"]] for row in left)
    weight, where = mixing.weights(ctx, mix, room)
    counts = dict(zip(room, allocate([weight[name] for name in room], [have[name] for name in room], count), strict=True))
    if sum(counts.values()) < count:
        reach = sum(have[name] for name in room if weight[name] > 0)
        raise _too_few(ctx, reach, len(taking), " in groups with a share above 0")
    chosen, taken = [], Counter[str]()
    for row in left:
        name = of[row["prompt_id"]]
        if taken[name] < counts[name]:
            taken[name] += 1
            chosen.append(row)
    before: Counter[str] = Counter()
    for prompt, times in used.items():
        before[of[prompt]] += times
    total = math.fsum(weight.values())
    groups = {
        name: {
            "size": room[name],
            "share": weight[name] / total,
            "count": counts[name],
            "epochs": (before[name] + counts[name]) / room[name] if room[name] else 0.0,
        }
        for name in room
    }
    _warn(ctx, groups)
    return chosen, {"mix": {"by": mix.by, "shares": where, "groups": groups}}


def _warn(ctx: Context, groups: dict[str, dict[str, Any]]) -> None:
    for name, group in groups.items():
        if group["epochs"] > mixing.MANY_PASSES and group["count"]:
            ctx.progress.note(f"  prompts.mix: group {name!r} of {group['size']} prompts is in its pass {math.ceil(group['epochs'])}")
