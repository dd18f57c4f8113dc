"""The shipped queries (sql/queries), and what any SQL file says of itself in its header: what it does and its parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.errors import QueryError
from engine.registry import nearest
from engine.sqlfile import SqlFile
from engine.views import SQL

LINE = re.compile(r"^--\s+\$(\w+)(?:\s*=\s*(\"[^\"]*\"|\S+))?\s*(.*)$")
QUERIES = SQL / "queries"


@dataclass(frozen=True)
class Parameter:
    """A $name of a file. `default` as the header has it (JSON), null where it must be given."""

    name: str
    default: str | None
    doc: str

    def __str__(self) -> str:
        value = "(must be given)" if self.default is None else f"= {self.default}"
        return f"{self.name} {value}" + (f"  {self.doc}" if self.doc else "")


def shipped() -> dict[str, Path]:
    """sql/queries by name."""
    return {path.stem: path for path in sorted(QUERIES.glob("*.sql"))}


def find(name: str) -> Path:
    """A file, or a shipped query by name ('why', '@why', 'queries/why.sql'). QueryError with the nearest name."""
    if Path(name).is_file():
        return Path(name)
    known, stem = shipped(), name.removeprefix("@").removeprefix("queries/").removesuffix(".sql")
    if stem in known:
        return known[stem]
    raise QueryError(f"no file and no shipped query {name!r}", where=str(QUERIES), hint=nearest(stem, list(known)))


def parameters(file: SqlFile) -> list[Parameter]:
    """The parameters that the SQL names, in the order of its header; those that the header does not mention come last."""
    found = {}
    for line in file.text.splitlines():
        if not line.startswith("--"):
            break
        if match := LINE.match(line):
            found[match[1]] = Parameter(match[1], match[2], match[3])
    named = file.parameters
    listed = [one for name, one in found.items() if name in named]
    return listed + [Parameter(name, None, "") for name in sorted(named - set(found))]


def description(file: SqlFile) -> str:
    """The comment at the top, without its parameters and source, on one line."""
    words = []
    for line in file.text.splitlines():
        if not line.startswith("--") or LINE.match(line) or line.startswith("-- Source:"):
            break
        words.append(line.removeprefix("--").strip())
    return " ".join(words)


def bind(file: SqlFile, given: Mapping[str, Any], automatic: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every parameter: the one given, else the engine's own, else the default.

    QueryError that lists the parameters where one is given that the file does not name, or one is lacking.
    """
    known = parameters(file)
    listed = "\n    ".join(["its parameters:", *map(str, known)]) if known else "it has no parameters"
    unknown = sorted(set(given) - file.parameters)
    if unknown:
        hint = f"{nearest(unknown[0], [one.name for one in known])}\n    {listed}" if known else listed
        raise QueryError(f"the SQL does not name ${unknown[0]}", where=str(file.path), hint=hint)
    values = {**file.defaults, **automatic, **given}
    lacking = [one for one in known if one.name not in values]
    if lacking:
        first = lacking[0]
        text = f"the SQL needs ${first.name}" + (f" ({first.doc})" if first.doc else "")
        raise QueryError(text, where=str(file.path), hint=f"--param {first.name}=VALUE; {listed}")
    return {name: value for name, value in values.items() if name in file.parameters}


def catalogue() -> list[dict[str, Any]]:
    """A row for each shipped query: name, what it does, parameters."""
    rows = []
    for name, path in shipped().items():
        file = SqlFile(path, path.read_text(encoding="utf-8"))
        rows.append({"name": name, "description": description(file), "parameters": [asdict(one) for one in parameters(file)]})
    return rows
