"""Rows of any table as Parquet (every column, lists and maps as they are) and as JSON lines; Parquet back with its types checked."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.types as pt

from engine.errors import DataError, SchemaError
from engine.tables import check


def fresh(path: Path) -> None:
    """DataError where something lies at `path`: an export never overwrites."""
    if path.exists():
        raise DataError("it exists already", where=str(path), hint="give another --out, or remove it")
    if not path.absolute().parent.is_dir():
        raise DataError(f"there is no folder {path.absolute().parent}", where=str(path), hint="make it first")


def write_parquet(rows: pa.Table, path: Path) -> None:
    """One Parquet file with every column as it is."""
    import pyarrow.parquet as pq

    fresh(path)
    pq.write_table(rows, path, compression="zstd")


def read_parquet(path: Path, table: str) -> pa.Table:
    """The rows of such a file as those of `table`. DataError where it is none, or lacks a column."""
    import pyarrow.parquet as pq

    try:
        return check(table, pq.ParquetFile(path).read())
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"not a readable Parquet file: {error}", where=str(path)) from error
    except SchemaError as error:
        raise DataError(error.message, where=str(path), hint=error.hint) from error


def write_jsonl(rows: pa.Table, path: Path) -> None:
    """One JSON object a row; a map becomes an object."""
    fresh(path)
    maps = [field.name for field in rows.schema if pt.is_map(field.type)]
    with path.open("w", encoding="utf-8") as file:
        for row in rows.to_pylist():
            own = row | {name: None if row[name] is None else dict(row[name]) for name in maps}
            file.write(json.dumps(own, ensure_ascii=False) + "\n")
