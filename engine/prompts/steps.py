"""The steps that fill the prompts table, and the worked examples of the base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import datafiles, tables
from engine.errors import StepError
from engine.prompts import mix
from engine.prompts.build import Row
from engine.prompts.demonstrations import demonstrations
from engine.prompts.draw import HISTORY, draw
from engine.prompts.pool import HELD_OUT, cleaned, digests, held_out, pool_reads, pool_settings, unclean
from engine.prompts.splits import disjoint, load
from engine.spec import Holdout, Spec
from engine.step import BASE, POLICY, Context, Output, Ref, Step


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """The room's steps."""
    hygiene = [Hygiene(spec)] if spec.prompts.hygiene else []
    return [Heldout(), *hygiene, Train(), *([Demonstrations()] if spec.base else [])]


def _table(name: str, rows: list[Row]) -> pa.Table:
    columns = [c for c in tables.TABLES[name].columns if not rows or c.name in rows[0]]
    plain = [{c.name: row[c.name] for c in columns} for row in rows]
    return tables.check(name, pa.Table.from_pylist(plain, schema=pa.schema(columns)))


class Heldout(Step):
    """The gate and test prompts, once for all rounds."""

    name, table, part = "heldout", "prompts", "gate"

    def active(self, spec: Spec, round_: int) -> bool:
        return round_ == BASE

    def writes(self) -> list[tuple[str, str]]:
        return [("prompts", "gate"), ("prompts", "test")]

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return []

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {"fields": spec.prompts.fields.model_dump(mode="json")}
        for split in ("gate", "test"):
            source = getattr(spec.prompts, split)
            held = source.model_dump(mode="json") if isinstance(source, Holdout) else None
            found[split] = {"holdout": held, "files": digests(spec.prompts, split, spec_path.parent)}
        return found

    def run(self, ctx: Context) -> Output:
        splits = load(ctx.spec.prompts, ctx.spec_path.parent)
        rows = {("prompts", split): _table("prompts", getattr(splits, split)) for split in ("gate", "test")}
        return Output(rows, len(splits.gate) + len(splits.test), {"duplicates": splits.duplicates})


class Hygiene(Step):
    """Which prompts of the pool no round may draw. The round does not enter, so a pool that stays is checked once."""

    name, table, part = "hygiene", "prompts_dropped", "train"

    def __init__(self, spec: Spec) -> None:
        semantic = spec.prompts.hygiene and spec.prompts.hygiene.semantic
        if semantic:
            from engine.cluster.embedders import embedders

            self.on_device = embedders.load(semantic.embedder).on_device

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return [*HELD_OUT]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        from engine.prompts import hygiene

        return {"pool": pool_settings(spec, spec_path), "hygiene": hygiene.fingerprint(spec, spec_path)}

    def run(self, ctx: Context) -> Output:
        from engine.prompts import hygiene

        pool, _ = unclean(ctx)
        scene = hygiene.Scene(ctx.spec.seed, ctx.spec_path, ctx.progress, getattr(ctx, "device", None), held_out(ctx, "messages"))
        kept, dropped = hygiene.clean(pool, ctx.spec.prompts, scene)
        if len(kept) + len(dropped) != len(pool):
            raise StepError(f"hygiene: {len(pool)} prompts went in, {len(kept)} were kept and {len(dropped)} dropped")
        by_rule = {name: sum(row["rule"] == name for row in dropped) for name, _ in hygiene.rules(ctx.spec.prompts, scene)}
        detail = {"pool": len(pool), "kept": len(kept), "dropped": by_rule, **scene.detail}
        return Output({("prompts_dropped", "train"): _table("prompts_dropped", dropped)}, len(pool), detail)


class Train(Step):
    """The round's own prompts: the next of the pool in the order of a hash of seed and prompt, in the shares of `mix`."""

    name, table, part = "prompts", "prompts", "train"

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return [*pool_reads(spec), *mix.reads(spec), *([HISTORY] if spec.prompts.per_round else [])]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        prompts = spec.prompts
        found = {**pool_settings(spec, spec_path), "per_round": prompts.per_round}
        if prompts.mix:
            # of the temperatures only that of the round enters: more rounds change none that is unchanged
            own = prompts.mix.model_dump(mode="json", exclude={"cooldown"})
            found["mix"] = own | {"temperature": mix.temperature(prompts.mix, round_, spec.rounds)}
        # `epochs` and `duplicates` decide only whether there is an error, never which rows come; in a mix a pass has a share
        found |= {"epochs": prompts.epochs} if prompts.mix and prompts.per_round else {}
        return found | ({"seed": spec.seed} if prompts.per_round or prompts.mix else {})

    def run(self, ctx: Context) -> Output:
        whole, left_out = unclean(ctx)
        pool, dropped = cleaned(ctx, whole)
        chosen, detail = draw(ctx, pool)
        found = {"pool": len(pool), "duplicates": left_out} | ({"dropped": dropped} if ctx.spec.prompts.hygiene else {}) | detail
        return Output({("prompts", "train"): _table("prompts", chosen)}, len(pool), found)


class Demonstrations(Step):
    """The worked examples that the base model learns from."""

    name, table, part = "demonstrations", "selected", POLICY

    def active(self, spec: Spec, round_: int) -> bool:
        return round_ == BASE and spec.base is not None

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return [*HELD_OUT]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        assert spec.base is not None
        fields = spec.prompts.fields.model_dump(mode="json", include={"messages", "template", "system"})
        files = list(datafiles.digest(spec.base.data, spec_path.parent).values())
        return {"fields": fields, "files": files, "response": spec.base.response}

    def run(self, ctx: Context) -> Output:
        assert ctx.spec.base is not None
        rows, left_out = demonstrations(ctx.spec.base, ctx.spec.prompts, ctx.spec_path.parent)
        for split, held in held_out(ctx).items():
            disjoint(rows, "base", held, split)
        return Output({("selected", POLICY): _table("selected", rows)}, len(rows), {"duplicates": left_out})
