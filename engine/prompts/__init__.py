"""Prompts: from people's files to the splits train, gate and test, and from the train pool to a round."""

from __future__ import annotations

from pathlib import Path

from engine.errors import DataError
from engine.prompts import hygiene, mix
from engine.prompts.demonstrations import demonstrations
from engine.prompts.groups import grouping
from engine.prompts.pool import pool, pool_reads, pool_settings
from engine.prompts.splits import Splits, disjoint, load
from engine.spec import Spec
from engine.step import Silent

__all__ = ["check", "pool", "pool_reads", "pool_settings"]


def check(spec: Spec, spec_path: Path) -> dict[str, int]:
    """Reads every file of the spec and raises what is wrong with any of its rows; needs no lake, and runs no rule of hygiene.

    Returns rows by split (`train`, `gate`, `test`; `base` where a base trains; `<split>_duplicates` where some were left out).
    """
    folder, prompts = spec_path.parent, spec.prompts
    splits = load(prompts, folder)
    counts = {"train": len(splits.train), "gate": len(splits.gate), "test": len(splits.test)}
    counts |= {f"{split}_duplicates": count for split, count in splits.duplicates.items()}
    if prompts.per_round and prompts.per_round > len(splits.train):
        raise DataError(
            f"prompts.per_round is {prompts.per_round}, but the pool has {len(splits.train)} prompts",
            where=str(spec_path),
            hint="a round never repeats a prompt: lower per_round or add prompts",
        )
    if spec.base:
        rows, left_out = demonstrations(spec.base, prompts, folder)
        disjoint(rows, "base", splits.gate, "gate")
        disjoint(rows, "base", splits.test, "test")
        counts |= {"base": len(rows)} | ({"base_duplicates": left_out} if left_out else {})
    _check_choice(spec, spec_path, splits)
    return counts


def _check_choice(spec: Spec, spec_path: Path, splits: Splits) -> None:
    """Hygiene and mix: their settings against the files."""
    hygiene.check(spec, hygiene.Scene(spec.seed, spec_path, Silent(), held={"gate": splits.gate, "test": splits.test}), splits.train)
    mixture = spec.prompts.mix
    if mixture is None:
        return
    if mixture.by == "cluster":
        mix.cluster_part(spec)
        return
    group = grouping(splits.train, mixture.by, "prompts.mix.by")
    sizes = dict.fromkeys(sorted({group(row) for row in splits.train}), 1)
    mix.known(mixture.weights, sizes, "prompts.mix.weights")
    mix.known(mixture.fraction, sizes, "prompts.mix.fraction")
