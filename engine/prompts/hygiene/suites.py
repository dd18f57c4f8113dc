"""Evaluation sets that train prompts must not hold: their items as texts, from files or from the held-out splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import datafiles
from engine.errors import DataError
from engine.ids import digest
from engine.prompts.build import Builder
from engine.prompts.hygiene.rule import Row
from engine.prompts.hygiene.texts import asked
from engine.registry import nearest
from engine.spec import Decontaminate, Prompts, Suite


@dataclass(frozen=True)
class Item:
    """One evaluation item: its set, an id, and its texts, which are matched one by one."""

    suite: str
    item_id: str
    texts: tuple[str, ...]


def items(settings: Decontaminate, prompts: Prompts, folder: Path, held: dict[str, list[Row]]) -> list[Item]:
    """Every item, set after set in the order of the spec, then gate and test. DataError names file, line and column."""
    found = [item for name, suite in settings.against.items() for item in _of_files(name, suite, prompts, folder)]
    if settings.held_out:
        found += [Item(split, row["prompt_id"], (asked(row),)) for split, rows in held.items() for row in rows]
    return found


def digests(settings: Decontaminate, folder: Path) -> dict[str, Any]:
    """What stands in the fingerprint for the files: their content, and which columns are matched."""
    return {
        name: {"files": list(datafiles.digest(suite.files, folder).values()), "columns": list(suite.columns)}
        for name, suite in settings.against.items()
    }


def _of_files(name: str, suite: Suite, prompts: Prompts, folder: Path) -> list[Item]:
    rows = datafiles.read(suite.files, folder)
    if suite.columns:
        found = []
        for index, row in enumerate(rows.rows):
            texts = tuple(_cell(row, column, name, rows.place(index)) for column in suite.columns)
            found.append(Item(name, digest(list(texts)), texts))
        return found
    try:
        built = Builder(prompts.fields.model_copy(update=PROMPT_ALONE)).build(rows, name)
    except DataError as error:
        hint = f"name the columns to match in prompts.hygiene.decontaminate.against.{name}.columns; there are {', '.join(rows.columns)}"
        raise DataError(f"evaluation set {name}: {error.message}", where=error.where, hint=hint) from error
    return [Item(name, row["prompt_id"], (asked(row),)) for row in built]


# of an evaluation set only the question is read
PROMPT_ALONE = {"reference": None, "reference_pattern": None, "task": None, "topic": None, "difficulty": None}


def _cell(row: dict[str, Any], column: str, name: str, place: str) -> str:
    if row.get(column) is None:
        raise DataError(f"evaluation set {name}: the row has no column {column!r}", where=place, hint=nearest(column, list(row)))
    return row[column] if isinstance(row[column], str) else str(row[column])
