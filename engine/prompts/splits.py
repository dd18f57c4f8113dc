"""The three splits of a spec: read, freed of doubles, held out, and proved disjoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine import datafiles
from engine.errors import DataError, SpecError
from engine.ids import digest
from engine.prompts.build import Builder, Row
from engine.spec import Holdout, Paths, Prompts

Split = Literal["train", "gate", "test"]


@dataclass
class Splits:
    """Rows of the prompts table by split, and how many doubles of earlier rows were left out of each."""

    train: list[Row]
    gate: list[Row]
    test: list[Row]
    duplicates: dict[str, int] = field(default_factory=dict)


def of_train(prompts: Prompts) -> bool:
    """Whether held-out rows are taken from the train files."""
    return any(isinstance(s, Holdout) and s.of == "train" for s in (prompts.gate, prompts.test))


def unique(rows: list[Row], key: str, what: str, rule: str, place: str = "source") -> tuple[list[Row], int]:
    """Rows whose `key` has not stood before, and how many were left out; DataError with both places if `rule` is 'error'."""
    first: dict[str, Row] = {}
    for row in rows:
        earlier = first.setdefault(row[key], row)
        if earlier is not row and rule == "error":
            raise DataError(
                f"the same {what} stands at {earlier[place]}",
                where=str(row[place]),
                hint="remove one, or set prompts.duplicates: first to keep the first of each",
            )
    return list(first.values()), len(rows) - len(first)


def read_split(prompts: Prompts, split: Split, base: Path) -> tuple[list[Row], int]:
    """Rows of the files of one split, before anything is held out, and how many doubles were left out."""
    paths = getattr(prompts, split)
    rows = Builder(prompts.fields).build(datafiles.read(paths, base), split)
    return unique(rows, "prompt_id", "prompt", prompts.duplicates)


def files_of(prompts: Prompts, split: Split) -> Paths | None:
    """The files that the rows of a split come from; SpecError where it holds out of a split that has none."""
    source = getattr(prompts, split)
    if not isinstance(source, Holdout):
        return source
    below = getattr(prompts, source.of)
    if source.of == split or not isinstance(below, (str, list)):
        raise SpecError(f"prompts.{split}: cannot hold out of {source.of!r}, which names no files", hint=f"give prompts.{source.of} files")
    return below


def load(prompts: Prompts, base: Path) -> Splits:
    """All splits, disjoint. Held-out rows are the first of their split in the order of a hash of the prompt, whatever the seed."""
    rows: dict[str, list[Row]] = {"train": [], "gate": [], "test": []}
    duplicates: dict[str, int] = {}
    for split in ("train", "gate", "test"):
        files_of(prompts, split)
        if isinstance(getattr(prompts, split), (str, list)):
            rows[split], left_out = read_split(prompts, split, base)
            duplicates |= {split: left_out} if left_out else {}
    for split in ("gate", "test"):
        holdout = getattr(prompts, split)
        if isinstance(holdout, Holdout):
            rows[split], rows[holdout.of] = hold_out(rows[holdout.of], holdout.rows, split, holdout.of)
    for one, other in (("gate", "test"), ("train", "gate"), ("train", "test")):
        disjoint(rows[one], one, rows[other], other)
    return Splits(rows["train"], rows["gate"], rows["test"], duplicates)


def hold_out(rows: list[Row], count: int, split: str, of: str) -> tuple[list[Row], list[Row]]:
    """(the first `count` rows in hash order as rows of `split`, the others in their own order)."""
    if count >= len(rows):
        raise DataError(
            f"prompts.{split}: cannot hold out {count} of {len(rows)} prompts of {of}",
            where=f"prompts.{split}.rows",
            hint=f"hold out fewer, or add prompts to {of}",
        )
    chosen = {row["prompt_id"] for row in sorted(rows, key=lambda row: digest("holdout", row["prompt_id"]))[:count]}
    taken = [{**row, "split": split} for row in rows if row["prompt_id"] in chosen]
    return taken, [row for row in rows if row["prompt_id"] not in chosen]


def disjoint(rows: Iterable[Row], split: str, others: Iterable[dict[str, Any]], other: str) -> None:
    """DataError with both places when a prompt of `rows` is also one of `others` (each has prompt_id and source)."""
    held = {row["prompt_id"]: row["source"] for row in others}
    for row in rows:
        if row["prompt_id"] in held:
            raise DataError(
                f"this {split} prompt is also a {other} prompt ({held[row['prompt_id']] or 'of the base round'})",
                where=str(row["source"]),
                hint=f"remove it from one; {other} figures mean nothing for prompts that train",
            )
