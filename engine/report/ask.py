"""`rondo sql`: opens the right window of the lake, binds parameters, prints the answer."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import yaml

from engine.errors import LakeError, QueryError, RondoError
from engine.experiment import key
from engine.home import Home
from engine.lake import Lake
from engine.query import Session, Window
from engine.report import queries
from engine.report.grid import dumps, plain, show
from engine.sqlfile import SqlFile
from engine.views import export

if TYPE_CHECKING:
    from rich.console import Console

BATCH = 4096  # rows that are held at once while printing


def answer(
    home: Home, query: str | None, file: str | None, experiment: str | None, at: str | None, params: Sequence[str]
) -> duckdb.DuckDBPyRelation:
    """The result of a query given as text, as @NAME of sql/queries, or as a file. QueryError with the place of a mistake."""
    found = _text(query, file)
    session, own = _session(home, experiment, at)
    given = dict(_param(one) for one in params)
    if isinstance(found, str):
        return session.run(found, own | given)
    return session.run(found.text, queries.bind(found, given, own), str(found.path))


def _text(query: str | None, file: str | None) -> str | SqlFile:
    """The SQL given on the command line, or the file that holds it."""
    if (query is None) == (file is None):
        raise QueryError(
            "give a query, @NAME, or -f FILE" if query is None else "give a query or -f FILE, not both",
            where="command line",
            hint=f"shipped queries: {', '.join('@' + name for name in queries.shipped())}; `rondo sql --list` says what they do",
        )
    if query is not None and not query.startswith("@"):
        return query
    path = queries.find(query or file or "")
    try:
        return SqlFile(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"cannot read the query: {error}", where=str(path)) from error


def _session(home: Home, experiment: str | None, at: str | None) -> tuple[Session, dict[str, Any]]:
    """The window that -e and --at ask for, and what the engine binds by itself: $experiment and $round."""
    spill = home.journal / "spill"
    if experiment is None and at is None:
        return Session(Lake(home.lake), Window(), spill=spill), {"experiment": None, "round": None}
    from engine.report import known
    from engine.rounds import DEVICE, OPENING
    from engine.step import BASE

    lake = Lake(home.lake)
    moment = None if at is None else known.need(at)
    name, round_ = known.split(experiment) if experiment is not None else moment or ("", None)
    if round_ is None and moment is not None and moment[0] == name:
        round_ = moment[1]
    entries = known.entries(name, home)
    rounds = sorted({r for r, _ in entries})
    if round_ is not None and round_ not in rounds:
        raise RondoError(f"{name} has no round {key(round_)}", hint=f"its rounds: {', '.join(map(key, rounds))}")
    bound = {"experiment": name, "round": round_}
    if round_ is None:
        round_ = max((r for r, step in entries if step not in (OPENING, DEVICE)), default=BASE)
    versions = None if moment is None else trained_with(lake, *moment)
    return Session(lake, Window(name, round_, versions), spill=spill), bound


def trained_with(lake: Lake, experiment: str, round_: int) -> dict[str, int]:
    """The table versions that the checkpoint of a round names. LakeError where there is none."""
    rows = lake.read("checkpoints", experiment=experiment, rounds=[round_], part="policy").to_pylist()
    if not rows:
        raise LakeError(
            f"{experiment} has no checkpoint of round {round_}, so nothing says how the tables were then",
            where=lake.path("checkpoints"),
            hint=f"`rondo status {experiment}`",
        )
    inputs = json.loads(max(rows, key=lambda row: row["at"])["inputs"])
    versions = next((entry["versions"] for entry in inputs if "versions" in entry), None)
    if versions is None:
        raise LakeError(
            f"the checkpoint of {experiment}/{round_} names no table versions",
            where=lake.path("checkpoints"),
            hint="it was made by another release or by hand",
        )
    return {name: int(version) for name, version in versions.items()}


def _param(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise QueryError(f"--param {given!r}: expected KEY=VALUE", where="command line")
    try:
        parsed = yaml.safe_load(value)
        # an id such as 0012345678901234 is text, though YAML would take it for an (octal) number
        return name.lstrip("$"), value if isinstance(parsed, int) and not isinstance(parsed, bool) and str(parsed) != value else parsed
    except yaml.YAMLError as error:
        raise QueryError(f"--param {given!r}: the value is not YAML", where="command line", hint="put quotes around text") from error


def rows(relation: duckdb.DuckDBPyRelation) -> Iterator[tuple[Any, ...]]:
    """Rows, a batch at a time. QueryError for a mistake that only shows while DuckDB computes."""
    try:
        for batch in relation.to_arrow_reader(BATCH):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    except duckdb.Error as error:
        raise QueryError(str(error), where="query") from error


def print_json(relation: duckdb.DuckDBPyRelation) -> None:
    """A JSON array with an object a row."""
    names, first = relation.columns, True
    sys.stdout.write("[")
    for row in rows(relation):
        sys.stdout.write(("\n" if first else ",\n") + dumps(dict(zip(names, row, strict=True)), indent=None))
        first = False
    sys.stdout.write("]\n" if first else "\n]\n")


def print_csv(relation: duckdb.DuckDBPyRelation) -> None:
    """CSV with a header; null is empty, nested values are JSON."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(relation.columns)
    for row in rows(relation):
        writer.writerow([dumps(v, indent=None) if isinstance(v, (list, dict, tuple)) else plain(v) for v in row])


def print_table(relation: duckdb.DuckDBPyRelation, console: Console, limit: int) -> None:
    """A table of at most `limit` rows (0: all) and a line that says how many there are."""
    found: list[tuple[Any, ...]] = []
    more = 0
    for row in rows(relation):
        if limit and len(found) == limit:
            more += 1
        else:
            found.append(row)
    show(console, relation.columns, found)
    if more:
        console.print(f"({len(found):,} of {len(found) + more:,} rows; --limit 0, --csv or --json give all)", markup=False, highlight=False)
    elif len(found) != 1:
        console.print(f"({len(found):,} rows)", markup=False, highlight=False)


def script(home: Home) -> str:
    """The views as a DuckDB script over the current snapshot."""
    return export(Lake(home.lake))


def write(path: Path, content: str) -> None:
    """Writes a text file. LakeError where the disk refuses."""
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise LakeError(f"cannot write: {error}", where=str(path)) from error
