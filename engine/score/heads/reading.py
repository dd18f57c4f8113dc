"""Numbers of a model's head for texts: equal texts once, too long ones none, with a journal that survives a crash."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from engine import operators
from engine.errors import StepError
from engine.step import Context

if TYPE_CHECKING:
    from engine.score.heads.classifier import Classifier
    from engine.score.heads.dropout import Dropping

BATCH = 64  # rows that are journaled together


class Read(NamedTuple):
    """The head's numbers for a text, or None and why. Of several passes one list each."""

    passes: list[list[float]] | None
    detail: str | None


def read(
    ctx: Context, classifier: Classifier, texts: Sequence[str], *, label: str, journal: Path, dropping: Dropping | None = None
) -> list[Read]:
    """What the head says of each text, in order. StepError where it gives something that is no finite number."""
    from engine.score.heads.classifier import SHAPE, Logits, keyed

    ids = classifier.encode(texts)
    keys, lengths = keyed(ids), [len(row) for row in ids]
    detail = [_reason(length, classifier.longest) for length in lengths]
    unique = {key: row for key, row, reason in zip(keys, ids, detail, strict=True) if reason is None}
    lost = sum(reason is not None for reason in detail)
    if lost:
        ctx.progress.note(f"{label}: {lost} of {len(texts)} texts get no number (no token, or more than {classifier.longest})")
    found: dict[str, list[float]] = {}
    if unique:
        todo = pa.Table.from_pydict({"key": list(unique), "ids": list(unique.values())}, schema=SHAPE)
        sizes = [len(row) for row in unique.values()]
        order = sorted(range(len(sizes)), key=lambda i: -sizes[i])  # longest first: what needs most memory fails at once
        made = operators.run(
            lambda: Logits(classifier, dropping),
            todo,
            key="key",
            batch=BATCH,
            journal=journal / classifier.digest,
            progress=ctx.progress,
            label=label,
            order=order,
        )
        found = dict(zip(made["key"].to_pylist(), made["logits"].to_pylist(), strict=True))
    width = classifier.width
    for key, row in found.items():
        if len(row) != width * (dropping.passes if dropping else 1) or not all(map(math.isfinite, row)):
            text = f"{label}: the head gave {row} for text {key}, expected {width} finite numbers a pass"
            raise StepError(text, hint="look at the model's weights, its dtype and its config.json")
    split = {key: [row[i : i + width] for i in range(0, len(row), width)] for key, row in found.items()}
    return [Read(split.get(key) if reason is None else None, reason) for key, reason in zip(keys, detail, strict=True)]


def _reason(length: int, longest: int) -> str | None:
    if length > longest:
        return f"truncated: {length} tokens, {longest} allowed"
    return None if length else "no token to read"
