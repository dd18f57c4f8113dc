"""Which answers of a table stand beside each other: those of a prompt, in order of their samples."""

from __future__ import annotations

import pyarrow as pa


def siblings(rows: pa.Table, most: int) -> list[list[int]]:
    """For each answer the others of its prompt, the first `most` in order of samples."""
    found = by_prompt(rows)
    made: list[list[int]] = [[] for _ in range(rows.num_rows)]
    for group in found.values():
        for i in group:
            made[i] = [j for j in group[: most + 1] if j != i][:most]
    return made


def by_prompt(rows: pa.Table) -> dict[str, list[int]]:
    """Row numbers of each prompt's answers, in order of sample and id."""
    found: dict[str, list[int]] = {}
    columns = (rows[name].to_pylist() for name in ("prompt_id", "sample", "generation_id"))
    for i, (prompt, _, _) in sorted(enumerate(zip(*columns, strict=True)), key=lambda one: one[1]):
        found.setdefault(prompt, []).append(i)
    return found
