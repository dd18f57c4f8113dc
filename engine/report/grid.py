"""Values as text: one way to show a number, a time or a nested value, in tables, CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 60  # characters of a cell on a terminal before it is cut


def text(value: Any, wide: int = 0) -> str:
    """One line for people: floats with four digits, times to the second, nested values as JSON; cut at `wide` (0: never)."""
    if value is None:
        return ""
    if isinstance(value, bool):
        found = "true" if value else "false"
    elif isinstance(value, float):
        found = f"{value:.4g}" if abs(value) < 1e4 or not math.isfinite(value) else f"{value:,.0f}"
    elif isinstance(value, datetime):
        found = value.isoformat(sep=" ", timespec="seconds")
    elif isinstance(value, (list, tuple, dict)):
        found = dumps(value, indent=None)
    else:
        found = str(value)
    found = found.replace("\n", "\\n").replace("\r", "\\r")
    return found if not wide or len(found) <= wide else found[: wide - 1] + "…"


def plain(value: Any) -> Any:
    """`value` as JSON has it: times as ISO text, NaN and infinity as null, tuples and sets as lists."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(v) for v in value)
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int)) else str(value)


def dumps(value: Any, indent: int | None = 2) -> str:
    """JSON of plain values."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False)


def seconds(value: float | None) -> str:
    """A duration: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min; '' for none."""
    if value is None:
        return ""
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    whole = round(value)
    return f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(value: int) -> str:
    """Bytes with a decimal unit: 1.2 GB."""
    number = float(value)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def show(console: Console, columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "", wide: int = WIDE) -> None:
    """Prints a table; columns of numbers stand to the right. Off a terminal nothing is cut or folded to a screen's width."""
    rows = [list(row) for row in rows]
    table = Table(title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(columns):
        values = [row[index] for row in rows if row[index] is not None]
        numeric = bool(values) and all(isinstance(v, (int, float, Decimal)) and not isinstance(v, bool) for v in values)
        table.add_column(
            name,
            justify="right" if numeric else "left",
            overflow="fold" if console.is_terminal else "ignore",
            no_wrap=not console.is_terminal,
        )
    for row in rows:
        table.add_row(*(Text(text(value, wide)) for value in row))
    console.print(table, crop=False, soft_wrap=not console.is_terminal)
