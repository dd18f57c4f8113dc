"""The lake: one Delta table a table of `engine.tables`, partitioned by experiment, round and part.

`replace` puts the rows of one part in place of the old ones in one commit; readers see the old part or the new one.
Old versions stay readable (log clean-up is off) until `engine.gc` removes what nothing names. The root is a local
folder or an object-store URI (s3://..., with credentials in the environment).
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from engine.disk import HINT, barred
from engine.errors import LakeError
from engine.rows import constant, partitioned
from engine.tables import PARTITION, TABLES, check, check_keys

ATTEMPTS = 12
CONFIGURATION = {"delta.enableExpiredLogCleanup": "false", "delta.logRetentionDuration": "interval 36500 days"}


@dataclass(frozen=True)
class File:
    """One Parquet file of a snapshot, with the part it belongs to."""

    uri: str
    experiment: str
    round: int
    part: str
    rows: int


class Lake:
    """Reads, writes and versions the tables below one root."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.removesuffix("/")
        self.local = "://" not in self.uri or self.uri.startswith("file://")
        self._open: dict[str, DeltaTable] = {}
        self._remote: tuple[Any, str] | None = None

    def path(self, name: str) -> str:
        """Where a table lies."""
        return f"{self.uri}/{name}"

    def table(self, name: str, version: int | None = None) -> DeltaTable | None:
        """The Delta table as it is now (or at `version`); None where nothing was ever written."""
        try:
            if version is not None:
                return DeltaTable(self.path(name), version=version)
            if name in self._open:
                self._open[name].update_incremental()
            else:
                self._open[name] = DeltaTable(self.path(name))
            return self._open[name]
        except TableNotFoundError:
            self._open.pop(name, None)
            if version is not None:
                raise LakeError(f"table {name} does not exist, version {version} was asked for", where=self.path(name)) from None
            self._no_log(name)
            return None
        except (DeltaError, OSError) as error:
            self._open.pop(name, None)
            hint = "the version may have been removed by `rondo gc`" if version is not None else "check the folder's rights"
            raise LakeError(f"cannot open table {name}: {_plain(error)}", where=self.path(name), hint=hint) from error

    def _no_log(self, name: str) -> None:
        """LakeError where data lies in a table's folder but the log that says what it is has gone; a new table would hide it."""
        folder = Path(self.path(name).removeprefix("file://"))
        if self.local and folder.is_dir() and any(child.name != "_delta_log" for child in folder.iterdir()):
            hint = "restore the folder, or move the table away"
            raise LakeError(f"table {name} has data but no log", where=f"{folder}/_delta_log", hint=hint)

    def version(self, name: str) -> int:
        """The newest version; -1 where the table does not exist yet."""
        table = self.table(name)
        return -1 if table is None else table.version()

    def versions(self) -> dict[str, int]:
        """The newest version of every table that exists."""
        found = {name: self.version(name) for name in TABLES}
        return {name: version for name, version in found.items() if version >= 0}

    def files(
        self,
        name: str,
        *,
        experiment: str | None = None,
        rounds: Iterable[int] | None = None,
        part: str | None = None,
        version: int | None = None,
        equal: tuple[str, str] | None = None,
    ) -> list[File]:
        """Files of the snapshot that hold the asked parts; `part` may end with '/*' for all below it.

        `equal` (a column and a text of at most 32 characters) leaves out files whose statistics exclude that value.
        """
        table = self.table(name, version)
        if table is None:
            return []
        actions = pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()  # pa.table() would import pandas
        if equal is not None and f"min.{equal[0]}" in actions.column_names:
            low, high = (actions[f"{end}.{equal[0]}"].to_pylist() for end in ("min", "max"))
            keep = [a is None or b is None or a <= equal[1] <= b for a, b in zip(low, high, strict=True)]
            actions = actions.filter(pa.array(keep, pa.bool_()))
        wanted = None if rounds is None else set(rounds)
        found = []
        columns = (actions[c].to_pylist() for c in ("path", "partition.experiment", "partition.round", "partition.part", "num_records"))
        for path, owner, round_, slot, rows in zip(*columns, strict=True):
            if (experiment in (None, owner)) and (wanted is None or round_ in wanted) and _matches(part, slot):
                found.append(File(f"{self.path(name)}/{unquote(path)}", owner, int(round_), slot, rows))
        return sorted(found, key=lambda f: (f.experiment, f.round, f.part, f.uri))

    def read(
        self,
        name: str,
        *,
        experiment: str | None = None,
        rounds: Iterable[int] | None = None,
        part: str | None = None,
        version: int | None = None,
        columns: Iterable[str] | None = None,
    ) -> pa.Table:
        """Rows of the asked parts with the partition columns first, in the declared schema."""
        schema = TABLES[name].schema
        if columns is not None:
            schema = pa.schema([schema.field(c) for c in dict.fromkeys([*PARTITION.names, *columns])])
        files = self.files(name, experiment=experiment, rounds=rounds, part=part, version=version)
        if not files:
            return schema.empty_table()
        return pa.concat_tables([self._load(file, schema) for file in files])

    def _load(self, file: File, schema: pa.Schema) -> pa.Table:
        import pyarrow.parquet as pq

        own = [c for c in schema.names if c not in PARTITION.names]
        try:
            filesystem, path = self.place(file)
            source = pq.ParquetFile(path, filesystem=filesystem)
            present = [c for c in own if c in source.schema_arrow.names]
            rows = source.read(columns=present) if present else None
            count = source.metadata.num_rows
        except (OSError, pa.ArrowException) as error:
            raise LakeError(f"cannot read a data file: {error}", where=file.uri, hint="was it removed by hand, or changed?") from error
        constants: dict[str, str | int] = {"experiment": file.experiment, "round": file.round, "part": file.part}
        arrays = []
        for field in schema:
            if field.name in constants:
                arrays.append(constant(constants[field.name], count))
            elif rows is not None and field.name in rows.column_names:
                arrays.append(rows[field.name].cast(field.type))
            else:
                arrays.append(pa.nulls(count, field.type))
        return pa.Table.from_arrays(arrays, schema=schema)

    def dataset(self, name: str, files: list[File]) -> Any:
        """A pyarrow dataset over files of an object store, for DuckDB (which has no extension for it offline)."""
        from pyarrow import dataset as ds

        fragments, kind = [], ds.ParquetFileFormat()
        for file in files:
            filesystem, path = self.place(file)
            own = (ds.field("experiment") == file.experiment) & (ds.field("round") == file.round) & (ds.field("part") == file.part)
            fragments.append(kind.make_fragment(path, filesystem, partition_expression=own))
        return ds.FileSystemDataset(fragments, TABLES[name].schema, kind, filesystem)

    def place(self, file: File) -> tuple[Any, str]:
        """The pyarrow filesystem (None: local) and the path in it; a part's name stays encoded in the path, as Delta wrote it."""
        if self.local:
            return None, file.uri.removeprefix("file://")
        from pyarrow import fs

        if self._remote is None:
            self._remote = fs.FileSystem.from_uri(self.uri)
        filesystem, root = self._remote
        return filesystem, root + file.uri.removeprefix(self.uri)

    def replace(
        self, name: str, rows: pa.Table, *, experiment: str, round: int, part: str, metadata: Mapping[str, str] | None = None
    ) -> int:
        """Puts `rows` (without partition columns) in place of the part, in one commit; returns a version that shows them.

        Rows are cast and checked first (SchemaError). Commits of other writers are waited out; LakeError when the
        disk refuses.
        """
        rows = check(name, rows)
        check_keys(name, rows)
        whole = partitioned(rows, experiment, round, part)
        predicate = f"experiment = '{experiment}' AND round = {round} AND part = '{part}'"
        commit = CommitProperties(custom_metadata=dict(metadata or {}), max_commit_retries=30)
        for attempt in range(ATTEMPTS):
            try:
                table = self._ensure(name)
                # a lake of an earlier release lacks columns that were added since; only then does a commit change the schema
                new = {field.name for field in table.schema().fields} < set(whole.column_names)
                merge: Literal["merge"] | None = "merge" if new else None
                write_deltalake(table, whole, mode="overwrite", predicate=predicate, commit_properties=commit, schema_mode=merge)
                table.update_incremental()
                return table.version()
            except CommitFailedError as error:
                self._open.pop(name, None)
                if attempt == ATTEMPTS - 1:
                    raise LakeError(f"could not commit to {name} after {ATTEMPTS} tries: {_plain(error)}", where=self.path(name)) from error
                time.sleep(0.01 * 2**attempt * random.random())
            except (DeltaError, OSError) as error:
                self._open.pop(name, None)
                raise LakeError(f"cannot write table {name}: {_plain(error)}", where=self.path(name), hint=HINT) from error
        raise AssertionError("unreachable")

    def _ensure(self, name: str) -> DeltaTable:
        table = self.table(name)
        if table is not None and self.local and (why := barred(Path(self.path(name).removeprefix("file://")))):
            raise LakeError(f"cannot write table {name}: {why}", where=self.path(name), hint=HINT)
        for attempt in range(ATTEMPTS):
            if table is not None:
                return table
            try:
                if self.local:
                    Path(self.path(name).removeprefix("file://")).mkdir(parents=True, exist_ok=True)
                DeltaTable.create(
                    self.path(name), TABLES[name].schema, mode="ignore", partition_by=PARTITION.names, configuration=CONFIGURATION
                )
            except (DeltaError, OSError) as error:
                if attempt == ATTEMPTS - 1:  # two processes may create at once; the loser finds the winner's table
                    raise LakeError(f"cannot create table {name}: {_plain(error)}", where=self.path(name), hint=HINT) from error
                time.sleep(0.01 * 2**attempt * random.random())
            table = self.table(name)
        raise LakeError(f"cannot create table {name}", where=self.path(name))

    def commits(self, name: str, since: int) -> list[dict[str, Any]]:
        """Commits newer than version `since`, newest first, with their metadata."""
        table = self.table(name)
        if table is None or table.version() <= since:
            return []
        try:
            return table.history(table.version() - since)
        except (DeltaError, OSError) as error:
            raise LakeError(f"cannot read the history of {name}: {_plain(error)}", where=self.path(name)) from error


def _plain(error: Exception) -> str:
    """The error's text without colours, drawn lines and Rust's call stack, in one line."""
    text = re.sub(r"\x1b\[[0-9;]*m|[↳×│╰─▶]|\n +0: .*", "", str(error), flags=re.DOTALL)
    return " ".join(text.split())


def _matches(wanted: str | None, part: str) -> bool:
    if wanted is None:
        return True
    return part.startswith(wanted[:-1]) if wanted.endswith("/*") else part == wanted
