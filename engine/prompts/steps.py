"""The steps that fill the prompts table, and the worked examples of the base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import datafiles, tables
from engine.errors import DataError
from engine.prompts.build import Row
from engine.prompts.demonstrations import demonstrations
from engine.prompts.splits import disjoint, files_of, load, of_train, read_split
from engine.randomness import shuffled
from engine.spec import Holdout, Prompts, Spec
from engine.step import BASE, POLICY, Context, Output, Ref, Step

HELD_OUT = (Ref("prompts", "gate", "base"), Ref("prompts", "test", "base"))
HISTORY = Ref("prompts", "train", "history")


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """The room's steps."""
    return [Heldout(), Train(), *([Demonstrations()] if spec.base else [])]


def _table(name: str, rows: list[Row]) -> pa.Table:
    columns = [c for c in tables.TABLES[name].columns if not rows or c.name in rows[0]]
    plain = [{c.name: row[c.name] for c in columns} for row in rows]
    return tables.check(name, pa.Table.from_pylist(plain, schema=pa.schema(columns)))


def _digests(prompts: Prompts, split: Any, folder: Path) -> list[str]:
    files = files_of(prompts, split)
    return [] if files is None else list(datafiles.digest(files, folder).values())


def _held_out(ctx: Context) -> dict[str, list[dict[str, Any]]]:
    return {ref.part or "": ctx.read(ref, ["prompt_id", "source"]).to_pylist() for ref in HELD_OUT}


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
            found[split] = {"holdout": held, "files": _digests(spec.prompts, split, spec_path.parent)}
        return found

    def run(self, ctx: Context) -> Output:
        splits = load(ctx.spec.prompts, ctx.spec_path.parent)
        rows = {("prompts", split): _table("prompts", getattr(splits, split)) for split in ("gate", "test")}
        return Output(rows, len(splits.gate) + len(splits.test), {"duplicates": splits.duplicates})


class Train(Step):
    """The round's own prompts: the next of the pool in the order of a hash of seed and prompt."""

    name, table, part = "prompts", "prompts", "train"

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return [*HELD_OUT, HISTORY] if spec.prompts.per_round else [*HELD_OUT]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        prompts = spec.prompts
        found = {
            "fields": prompts.fields.model_dump(mode="json"),
            "files": _digests(prompts, "train", spec_path.parent),
            "held_out_of_train": of_train(prompts),
            "per_round": prompts.per_round,
        }
        # `epochs` and `duplicates` decide only whether there is an error, never which rows come
        return found | ({"seed": spec.seed} if prompts.per_round else {})

    def run(self, ctx: Context) -> Output:
        prompts = ctx.spec.prompts
        pool, left_out = read_split(prompts, "train", ctx.spec_path.parent)
        held = _held_out(ctx)
        if of_train(prompts):
            # the base round holds out once: a file that grows later must not move its rows
            taken = {row["prompt_id"] for rows in held.values() for row in rows}
            pool = [row for row in pool if row["prompt_id"] not in taken]
        for split, rows in held.items():
            disjoint(pool, "train", rows, split)
        chosen = self._next(ctx, pool) if prompts.per_round else pool
        detail = {"pool": len(pool), "duplicates": left_out}
        return Output({("prompts", "train"): _table("prompts", chosen)}, len(pool), detail)

    def _next(self, ctx: Context, pool: list[Row]) -> list[Row]:
        prompts, count = ctx.spec.prompts, ctx.spec.prompts.per_round or 0
        used = dict.fromkeys((row["prompt_id"] for row in pool), 0)
        for prompt in ctx.read(HISTORY, ["prompt_id"])["prompt_id"].to_pylist():
            if prompt in used:
                used[prompt] += 1
        order = shuffled(ctx.spec.seed, 0, "prompts", list(used))
        # the least used come first, so a new pass starts only when a pass is used up
        left = sorted((pool[i] for i in order if used[pool[i]["prompt_id"]] < prompts.epochs), key=lambda row: used[row["prompt_id"]])
        if len(left) < count:
            passes = f", {prompts.epochs} times each" if prompts.epochs > 1 else ""
            raise DataError(
                f"round {ctx.round} needs {count} prompts, {len(left)} are left of {len(pool)} in the pool{passes}",
                where=str(ctx.spec_path),
                hint=f"add prompts to {prompts.train}, or set prompts.epochs to {prompts.epochs + 1} to use them again",
            )
        return left[:count]


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
        for split, held in _held_out(ctx).items():
            disjoint(rows, "base", held, split)
        return Output({("selected", POLICY): _table("selected", rows)}, len(rows), {"duplicates": left_out})
