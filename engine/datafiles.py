"""Rows of the files that people bring: JSONL, Parquet, CSV, a folder of Parquet files, or a Hugging Face dataset saved on disk.

Each row keeps the place it came from, so that every later complaint about it can name file and line.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from engine.errors import DataError
from engine.ids import digest as text_digest
from engine.ids import file_digest
from engine.registry import nearest

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_FORMATS = ".jsonl, .ndjson, .csv (each also as .gz), .parquet, or a folder of .parquet files or of a dataset saved with `save_to_disk`"
_HF_MARKS = ("dataset_info.json", "state.json")
_digests: dict[tuple[str, int, int], str] = {}


@dataclass
class Rows:
    """Rows of one or several files in order, as dicts; `columns` in the order in which they first appear."""

    columns: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _paths: list[Path] = field(default_factory=list)
    _lines: list[list[int] | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, index: int) -> str:
        """'file:line' of a row, counted from 1; for Parquet and datasets 'file:row'."""
        at = bisect_right(self._starts, index) - 1
        inner = index - self._starts[at]
        lines = self._lines[at]
        return f"{self._paths[at]}:{lines[inner] if lines else inner + 1}"

    def add(self, path: Path, rows: list[dict[str, Any]], lines: list[int] | None, columns: Iterable[str]) -> None:
        """Appends the rows of one file; `lines` are their line numbers, none where rows have no lines."""
        self._starts.append(len(self.rows))
        self._paths.append(path)
        self._lines.append(lines)
        self.rows.extend(rows)
        self.columns.extend(c for c in columns if c not in self.columns)


def resolve(paths: str | list[str], base: Path) -> list[Path]:
    """The files or dataset folders that `paths` name, relative ones below `base`; DataError for one that is missing."""
    names = [paths] if isinstance(paths, str) else list(paths)
    if not names:
        raise DataError("expected at least one data file, found an empty list")
    found = [(base / name) for name in names]
    for name, path in zip(names, found, strict=True):
        if not path.exists():
            beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            hint = nearest(path.name, beside) if beside else f"there is no folder {path.parent} either"
            raise DataError(f"no data file {name!r}; looked for {path}", where=str(path), hint=hint)
    return found


def read(paths: str | list[str], base: Path) -> Rows:
    """Every row of `paths` (relative to `base`), file after file. DataError names file and line of what is wrong."""
    table = Rows()
    for path in resolve(paths, base):
        _reader(path)(path, table)
    return table


def digest(paths: str | list[str], base: Path) -> dict[str, str]:
    """16 hex digits over each file's bytes, by the path as written; hashed again only when size or time change."""
    names = [paths] if isinstance(paths, str) else list(paths)
    return {name: _digest(path) for name, path in zip(names, resolve(paths, base), strict=True)}


def _digest(path: Path) -> str:
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return text_digest([[p.relative_to(path).as_posix(), _digest(p)] for p in files])
    try:
        stat = path.stat()
        key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
        if key not in _digests:
            _digests[key] = file_digest(path)
    except OSError as error:
        _unreadable(path, error)
    return _digests[key]


def _reader(path: Path) -> Callable[[Path, Rows], None]:
    if path.is_dir():
        return _dataset
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".parquet": _parquet}
    if suffix.lower() not in readers or (path.suffix == ".gz" and suffix.lower() == ".parquet"):
        raise DataError(f"unknown kind of data file {path.name!r}", where=str(path), hint=f"known: {_FORMATS}")
    return readers[suffix.lower()]


def _unreadable(path: Path, error: Exception) -> NoReturn:
    raise DataError(f"cannot read the file: {error}", where=str(path), hint="is it whole, and may you read it?") from error


def _text(path: Path) -> str:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        _unreadable(path, error)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"not UTF-8: byte 0x{data[error.start]:02x}", where=f"{path}:{line}", hint="save the file as UTF-8") from error
    if not text.strip():
        raise DataError("the file is empty", where=str(path), hint="give it one row a line, or take it out of the spec")
    return text


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _jsonl(path: Path, table: Rows) -> None:
    rows, lines, columns = [], [], dict[str, None]()
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=_constant)
            if _SURROGATE.search(line):
                json.dumps(row, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            raise DataError(f"broken JSON, column {error.colno}: {error.msg}", where=f"{path}:{number}", hint=_json_hint(line)) from error
        except UnicodeEncodeError as error:
            raise DataError("half of a surrogate pair, which is no character", where=f"{path}:{number}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"broken JSON: {error}", where=f"{path}:{number}") from error
        if not isinstance(row, dict):
            raise DataError(
                f'expected an object like {{"question": ...}}, found {type(row).__name__}',
                where=f"{path}:{number}",
                hint="JSONL holds one object a line",
            )
        rows.append(row)
        lines.append(number)
        columns.update(dict.fromkeys(row))
    table.add(path, rows, lines, columns)


def _json_hint(line: str) -> str:
    cut = not line.rstrip().endswith(("}", ","))
    return "the line seems cut off; was the file written to the end?" if cut else "JSONL holds one whole object on each line"


def _csv(path: Path, table: Rows) -> None:
    csv.field_size_limit(1 << 30)
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    header: list[str] = []
    rows, lines, start = [], [], 1
    try:
        for cells in reader:
            first, start = start, reader.line_num + 1
            if not cells:
                continue
            if not header:
                header = _header(cells, path)
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"expected {len(header)} cells ({', '.join(header)}), found {len(cells)}",
                    where=f"{path}:{first}",
                    hint="quote cells that hold a comma, a quote or a line break",
                )
            rows.append(dict(zip(header, cells, strict=True)))
            lines.append(first)
    except csv.Error as error:
        raise DataError(f"broken CSV: {error}", where=f"{path}:{reader.line_num}") from error
    if not rows:
        raise DataError("the file has a header but no row", where=str(path))
    table.add(path, rows, lines, header)


def _header(cells: list[str], path: Path) -> list[str]:
    names = [cell.strip() for cell in cells]
    wrong = next((n for n in names if not n or names.count(n) > 1), None)
    if wrong is not None:
        raise DataError(f"column {wrong!r} stands twice or has no name", where=f"{path}:1", hint="the first line names the columns")
    return names


def _parquet(path: Path, table: Rows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.ParquetFile(path).read()
        rows = found.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"not a readable Parquet file: {error}", where=str(path)) from error
    if not rows:
        raise DataError("the file has no row", where=str(path))
    table.add(path, rows, None, found.column_names)


def _dataset(path: Path, table: Rows) -> None:
    if (path / "dataset_dict.json").is_file():
        splits = sorted(f"{path.name}/{p.name}" for p in path.iterdir() if p.is_dir())
        raise DataError("the folder holds several splits", where=str(path), hint=f"name one: {', '.join(splits)}")
    if not all((path / mark).is_file() for mark in _HF_MARKS):
        pieces = sorted(path.glob("*.parquet"))
        if not pieces:
            text = "a folder, but neither a dataset saved with `save_to_disk` nor one with .parquet files in it"
            raise DataError(text, where=str(path), hint=f"known: {_FORMATS}")
        for piece in pieces:
            _parquet(piece, table)
        return
    import pyarrow as pa
    from datasets import load_from_disk

    try:
        found = load_from_disk(str(path))
        rows = found.to_list()
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"not a readable dataset: {error}", where=str(path), hint="save it again with `save_to_disk`") from error
    if not rows:
        raise DataError("the dataset has no row", where=str(path))
    table.add(path, rows, None, found.column_names)
