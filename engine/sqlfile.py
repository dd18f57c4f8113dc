"""A SQL file: where it lies, the defaults that its header declares, the tables, parameters and functions that it names.

The header is the comment at the top. A line `--   $name = value  what it is` declares a parameter and its default
(JSON: a number, "text", true, null); `--   $name  what it is` declares one that must be given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from engine import macros
from engine.errors import QueryError
from engine.registry import nearest
from engine.views import SQL, nodes_of, stripped, tables_of, tree_of, view_texts

DEFAULT = re.compile(r"^--\s+\$(\w+)\s*=\s*(\"[^\"]*\"|\S+)")
# results that differ from run to run, or that come from outside the lake: a fingerprint cannot know them
CHANGING = re.compile(
    r"random|setseed|uuid|uuidv[47]|gen_random_uuid|now|today|nextval|currval|get_current_\w+|current_\w+|transaction_timestamp"
    r"|read_\w+|parquet_\w+|sniff_csv|glob|getenv|query|query_table|duckdb_\w+|pragma_\w+"
)


@dataclass(frozen=True)
class SqlFile:
    """One SELECT in a file."""

    path: Path
    text: str

    @property
    def tables(self) -> frozenset[tuple[str, str]]:
        """(schema, name) of every table that it reads; bare names have schema ''. QueryError for text that is no SELECT."""
        try:
            return tables_of(self.text)
        except QueryError as error:
            raise QueryError(error.message, where=str(self.path), hint=error.hint) from error

    @property
    def parameters(self) -> frozenset[str]:
        """The $names in it, without the dollar sign."""
        return _parameters(self.text, str(self.path))

    @property
    def defaults(self) -> dict[str, Any]:
        """Values that its header gives to parameters."""
        found = {}
        for line in self.text.splitlines():
            if not line.startswith("--"):
                break
            if match := DEFAULT.match(line):
                try:
                    found[match[1]] = json.loads(match[2])
                except json.JSONDecodeError as error:
                    text = f"default of ${match[1]}: {match[2]} is not JSON (text stands in double quotes)"
                    raise QueryError(text, where=str(self.path)) from error
        return found

    def code(self) -> str:
        """The text without comments and with single blanks: what enters a fingerprint. Never what is run.

        Behind it stand the shipped views that it reads and the macros that it calls: the result follows from them too.
        """
        views, texts = self._views(), [stripped(self.text)]
        texts += [stripped(views[name]) for name in sorted(views)]
        return "\n".join([*texts, *(stripped(macros.text(name)) for name in macros.called(*texts))])

    def _views(self) -> dict[str, str]:
        """The shipped views that it reads, directly or through each other."""
        known, found = view_texts(), {}
        todo = [name for _, name in self.tables]
        while todo:
            name = todo.pop()
            if name in known and name not in found:
                found[name] = known[name]
                todo += [inner for _, inner in tables_of(known[name])]
        return found

    def query(self) -> str:
        """The text to run, without a closing semicolon, for use inside parentheses on lines of its own."""
        return re.sub(r";\s*$", "", self.text.rstrip())

    def bind(self, given: Mapping[str, Any], automatic: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A value for every parameter: the one given (a null one is not given), else the engine's own, else the default.

        QueryError for a parameter that nobody gives and for a given one that the SQL does not name.
        """
        values = {**self.defaults, **(automatic or {}), **{k: v for k, v in given.items() if v is not None}}
        names = self.parameters
        for name in given:
            if name not in names and given[name] is not None:
                hint = nearest(name, sorted(names)) if names else "it names none"
                raise QueryError(f"parameter {name!r} is given, but the SQL does not name ${name}", where=str(self.path), hint=hint)
        for name in sorted(names - set(values)):
            raise QueryError(
                f"the SQL names ${name}, and neither the spec nor the file's header gives it a value",
                where=str(self.path),
                hint=f"give params: {{{name}: ...}}, or declare a default in the header: --   ${name} = 1  what it is",
            )
        return {name: values[name] for name in sorted(names)}

    def require_stable(self) -> None:
        """QueryError where a function or a sample could give other rows on another run, or reads outside the lake."""
        for node in nodes_of(tree_of(self.text)):
            name = str(node.get("function_name", "")).lower()
            if node.get("class") == "COLUMN_REF" and node["column_names"][0].lower().startswith("current_"):
                name = node["column_names"][0].lower()  # current_date is parsed as a column
            if name and CHANGING.fullmatch(name):
                drawn = "random" in name or "uuid" in name
                hint = "use draw($seed, key)" if drawn else "a query of a step reads only tables and parameters"
                raise QueryError(f"{name}() gives other rows on another run or reads outside the lake", where=str(self.path), hint=hint)
            if node.get("sample"):
                raise QueryError("a sample draws other rows on another run", where=str(self.path), hint="order by draw($seed, key) and cut")


def find(name: str, spec_path: Path | None = None) -> Path:
    """The SQL file `name` (such as select/raft.sql): beside the spec first, then below the shipped sql folder.

    QueryError with the nearest name where there is none.
    """
    folders = [*([spec_path.parent] if spec_path else []), SQL]
    for folder in folders:
        for path in (folder / name, folder / f"{name}.sql"):
            if path.is_file() and path.suffix == ".sql":
                return path.absolute()
    kind = name.partition("/")[0]
    known = {f"{kind}/{path.name}" for folder in folders for path in (folder / kind).glob("*.sql")}
    known |= {f"{path.parent.name}/{path.name}" for path in SQL.glob("*/*.sql")} if not known else set()
    known |= {path.name for path in folders[0].glob("*.sql")} if spec_path else set()
    raise QueryError(f"no SQL file {name!r}", where=str(spec_path or SQL), hint=nearest(name, sorted(known)))


def read(path: Path) -> SqlFile:
    """The file's text. QueryError where it cannot be read, is empty, or is not one SELECT."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"cannot read the SQL file: {error}", where=str(path)) from error
    file = SqlFile(path, text)
    if not stripped(text):
        raise QueryError("the SQL file is empty", where=str(path), hint="write one SELECT")
    _parameters(text, str(path))
    if not file.tables:
        raise QueryError("the SQL reads no table", where=str(path), hint="see `rondo sql` for the tables")
    return file


@lru_cache(maxsize=1024)
def _parameters(text: str, where: str) -> frozenset[str]:
    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise QueryError(str(error), where=where) from error
    if len(statements) != 1:
        raise QueryError(f"expected one statement, found {len(statements)}", where=where)
    return frozenset(statements[0].named_parameters)
