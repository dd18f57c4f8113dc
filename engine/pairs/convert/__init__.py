"""Typed converters: rows of `pairs` and `selected` to and from TRL's data set types, Parquet and JSON lines.

`trl` makes and reads Hugging Face data sets in TRL's types, `preference` reads one row of a preference data set in any of its shapes,
`files` writes and reads tables, `prompts` makes prompts that carry their pairs. All are pure functions of rows: as many come out as
go in (an unpaired data set has two rows a pair), and a row that cannot be converted is an error that names it.
"""

from __future__ import annotations

from typing import Any

from engine.errors import DataError

ASSISTANT, USER = "assistant", "user"
Row = dict[str, Any]
Messages = list[dict[str, str]]


def refused(text: str, where: str, hint: str = "") -> DataError:
    """The error for a row that cannot be converted."""
    return DataError(text, where=where, hint=hint)
