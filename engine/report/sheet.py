"""Tables that people fill in with a spreadsheet: CSV whose cells no spreadsheet takes for a formula or a number, and back.

A cell that begins with = + - @ (or a tab or line break before them) is a formula to a spreadsheet, and may fetch or run things; a
digest such as 1234567890123456 or 12e4567890123456 is a number to it, and loses digits. Such cells get an apostrophe in front, as
OWASP recommends ("CSV Injection"); so do those that begin with one, which makes the way back unambiguous.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.disk import HINT
from engine.errors import DataError, RondoError

MARK = "'"
RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", MARK)  # the wide forms are the same to a spreadsheet
DELIMITERS = (",", ";", "\t")
LARGEST = 1 << 27  # characters of a cell; the csv module's own limit is 131,072


def guarded(value: Any) -> str:
    """A cell as it is written; None is an empty cell. Numbers stay as they are: only text is guarded."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    return MARK + value if value.startswith(RISKY) or _is_number(value) else value


def unguarded(cell: str) -> str:
    """The text of a cell, as it was before `guarded`."""
    return cell[1:] if cell.startswith(MARK) else cell


def _is_number(text: str) -> bool:
    """Whether a long text would lose digits as a number; a short one (an answer's 72) would not."""
    if len(text) < 12:
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Writes a new file (UTF-8 with the mark that spreadsheets need) and returns the number of rows.

    RondoError where the file exists (it may hold somebody's work) or cannot be written.
    """
    text = io.StringIO(newline="")
    sheet, count = csv.writer(text), 0
    sheet.writerow([guarded(column) for column in columns])
    for row in rows:
        sheet.writerow([guarded(value) for value in row])
        count += 1
    try:
        with path.open("x", encoding="utf-8-sig", newline="") as file:
            file.write(text.getvalue())
    except FileExistsError as error:
        raise RondoError("the file exists, and may hold labels", where=str(path), hint="give another --out, or move it away") from error
    except OSError as error:
        raise RondoError(f"cannot write the file: {error.strerror}", where=str(path), hint=HINT) from error
    return count


def read(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line on which it starts, row) of each row, by the first line's names; commas, semicolons or tabs, with or without the mark.

    DataError for a file that is no such table, lacks a column of `needed`, or has a row with too few or too many cells.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror}", where=str(path), hint="give the path of the filled-in CSV") from error
    except UnicodeDecodeError as error:
        hint = "save it from the spreadsheet as CSV UTF-8"
        raise DataError(f"not UTF-8 ({error.reason} at byte {error.start})", where=str(path), hint=hint) from error
    before = csv.field_size_limit(LARGEST)
    try:
        head = text.split("\n", 1)[0]
        sheet = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=head.count), strict=True)
        names = [unguarded(name).strip() for name in next(sheet, [])]
        _check_names(names, needed, path)
        line = sheet.line_num + 1
        for cells in sheet:
            if any(cells):
                if len(cells) != len(names):
                    raise DataError(f"{len(cells)} cells, the first line names {len(names)}", where=f"{path}:{line}")
                yield line, dict(zip(names, map(unguarded, cells), strict=True))
            line = sheet.line_num + 1
    except csv.Error as error:
        raise DataError(f"not a CSV: {error}", where=f"{path}:{sheet.line_num}") from error
    finally:
        csv.field_size_limit(before)


def _check_names(names: list[str], needed: Sequence[str], path: Path) -> None:
    lacking = [name for name in needed if name not in names]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if lacking:
        hint = f"its first line must have {', '.join(needed)}, as `rondo audit --out` writes them"
        raise DataError(f"no column {lacking[0]!r}, found {', '.join(names) or 'nothing'}", where=f"{path}:1", hint=hint)
    if twice:
        raise DataError(f"the column {twice[0]!r} stands twice", where=f"{path}:1")
