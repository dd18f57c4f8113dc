"""Groups of prompts: by topic, task, file, or any column of the files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from engine.errors import SpecError
from engine.prompts.build import Row
from engine.registry import nearest

NONE = "null"  # the group of rows that have no value


def grouping(rows: list[Row], by: str, field: str) -> Callable[[Row], str]:
    """A function that gives a row's group: text as it is, anything else as JSON, `null` for rows without a value.

    `by`: topic, task, file (the file that the row stands in), or a column that prompts.fields does not use. SpecError, about `field` of
    the spec, where no row has such a column.
    """
    if by == "file":
        return lambda row: str(row["source"]).rpartition(":")[0].rpartition("/")[2]
    if by in ("topic", "task"):
        if not any(row[by] is not None for row in rows):
            raise SpecError(f"{field}: no prompt has a {by}", hint=f"name its column in prompts.fields.{by}")
        return lambda row: _text(row[by])
    columns = _columns(rows)
    if by not in columns:
        raise SpecError(f"{field}: the files have no column {by!r}", hint=nearest(by, ["topic", "task", "file", *columns]))
    return lambda row: _text(json.loads(row["meta"]).get(by) if row["meta"] else None)


def _columns(rows: Iterable[Row]) -> list[str]:
    return sorted({name for row in rows if row["meta"] for name in json.loads(row["meta"])})


def _text(value: Any) -> str:
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
