"""SQL over the lake: DuckDB over the files of a snapshot, in schemas.

- bare names: one round of one experiment, with `scored` = generations joined with one column per scorer;
- `history.<table>`: all earlier rounds of the experiment (the base included);
- `calibrate.generations`, `.scores`, `.scored`: the round's calibration; `followup....`: its second generations;
- `segment.scores`: numbers of the parts of the round's answers (sentences, lines, steps);
- `lake.<table>`: everything.
The views of sql/views stand in each schema. A view is made only when the query names it, so opening costs no file;
so are the macros of sql/macros when it calls one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from engine import macros
from engine.errors import QueryError
from engine.lake import File, Lake
from engine.registry import nearest
from engine.tables import TABLES
from engine.views import DRAW, scored_sql, source_sql, sql_types, tables_of, view_texts

PEOPLE = "/human"  # end of the parts with labels of people (engine/score/human.py): steps, whose fingerprints know none, see none
READS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
# parts of generations and scores; segments have only scores
ASIDE = {"calibrate": ("calibrate", "calibrate/*"), "followup": ("followup/*", "followup/*"), "segment": ("segment", "segment/*")}
SCHEMAS = ("bare", "history", "lake", *ASIDE)


@dataclass
class Window:
    """What the bare and history schemas show: an experiment, a round of it, and (for the past) table versions."""

    experiment: str | None = None
    round: int | None = None
    versions: dict[str, int] | None = None
    lake: bool = True
    scorers: tuple[str, ...] = ()  # columns of `scored` also where nothing is scored yet


class Session:
    """A DuckDB connection over one window of the lake; views are made as queries name them."""

    def __init__(
        self, lake: Lake, window: Window, *, memory_limit: str = "1GB", threads: int | None = None, spill: Path | None = None
    ) -> None:
        self.lake, self.window = lake, window
        config: dict[str, Any] = {"memory_limit": memory_limit, "autoinstall_known_extensions": "false"}
        # without a place to spill to, DuckDB would make one in the folder that the user happens to be in
        config["temp_directory"] = str(spill) if spill is not None else ""
        if threads:
            config["threads"] = threads
        self.connection = duckdb.connect(config=config)
        for schema in SCHEMAS:
            self.connection.execute(f"create schema {schema}")
        self.connection.execute(DRAW)
        self.connection.execute("set search_path = 'bare,main'")
        self._made: set[tuple[str, str]] = set()
        self._macros: set[str] = set()
        self._asked = ""  # every query so far: `scored` has the scorers that they name
        self._views = view_texts()

    def run(self, query: str, params: dict[str, Any] | None = None, where: str = "query") -> duckdb.DuckDBPyRelation:
        """Runs one statement; binds those of `params` that it names. QueryError with the place of a mistake."""
        try:
            statements = duckdb.extract_statements(query)
            if len(statements) != 1:
                raise QueryError(f"expected one statement, found {len(statements)}", where=where)
            if statements[0].type not in READS:
                raise QueryError(f"expected a SELECT, found {statements[0].type.name}: SQL only reads the lake", where=where)
            named = {name: value for name, value in (params or {}).items() if name in statements[0].named_parameters}
            missing = statements[0].named_parameters - set(named)
            if missing:
                raise QueryError(
                    f"the query names ${sorted(missing)[0]} and nobody gives it", where=where, hint=f"given: {sorted(params or {})}"
                )
            self.prepare(query)
            relation = self.connection.sql(query, params=named) if named else self.connection.sql(query)
        except duckdb.Error as error:
            raise self._error(error, where) from error
        if relation is None:
            raise QueryError("the statement gives no rows", where=where)
        return relation

    def table(self, query: str, params: dict[str, Any] | None = None, where: str = "query") -> pa.Table:
        """The result of `run` as an Arrow table."""
        relation = self.run(query, params, where)
        try:
            return relation.to_arrow_table()
        except duckdb.Error as error:
            raise self._error(error, where) from error

    def _error(self, error: duckdb.Error, where: str) -> QueryError:
        """DuckDB's message; where a table is unknown, with the nearest of ours instead of DuckDB's own system tables."""
        text = str(error)
        match = re.search(r"Table with name \"?(\w+)", text)
        if not match:
            return QueryError(text, where=where)
        text = re.sub(r"\nDid you mean [^\n]*", "", text)
        if match[1].lower() in self.names():
            return QueryError(text, where=where, hint=f"lake.{match[1]}, or -e EXPERIMENT for the bare names of a round")
        return QueryError(text, where=where, hint=nearest(match[1], self.names()))

    def names(self) -> list[str]:
        """Every table and view name."""
        return sorted({*TABLES, *self._views, "scored"})

    def prepare(self, query: str) -> None:
        """Makes the macros that the query calls, and the views whose names stand in it, in the schemas where they may be meant."""
        macros.make(self.connection, [query], self._macros)
        words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", query.lower()))
        self._asked += f" {query}"
        named = [name for name in self.names() if name in words]
        for name in named:
            for schema in SCHEMAS:
                if schema == "bare" or schema in words:
                    self._make(schema, name, self._asked)

    def _make(self, schema: str, name: str, asked: str) -> None:
        if ((schema, name) in self._made and name != "scored") or (schema == "lake" and not self.window.lake):
            return
        if schema in ASIDE and name not in (("scores",) if schema == "segment" else ("generations", "scores", "scored")):
            return
        if schema != "lake" and (self.window.experiment is None or (schema == "history" and self.window.round is None)):
            return
        self._made.add((schema, name))
        if name in TABLES:
            self._table_view(schema, name)
        elif name == "scored":
            self._scored_view(schema, asked)
        else:
            self._asked += " *"  # a view may use any scorer
            for _, inner in tables_of(self._views[name]):
                self._make(schema, inner, self._asked)
            macros.make(self.connection, [self._views[name]], self._macros)
            self.connection.execute(f"set search_path = '{schema},main'")
            self.connection.execute(f"create view {schema}.{name} as {self._views[name].strip().rstrip(';')}")
            self.connection.execute("set search_path = 'bare,main'")

    def files(self, schema: str, name: str) -> list[File]:
        """The files that a schema's table shows."""
        w = self.window
        version = None if w.versions is None else w.versions.get(name, -1)
        if version == -1:
            return []
        experiment = w.experiment
        rounds: Iterable[int] | None = None if w.round is None else [w.round]
        if schema == "lake":
            experiment, rounds = None, None
        elif schema == "history":
            rounds = range(-1, w.round or 0)
        part = None
        if schema != "lake" and name in ("generations", "scores"):
            part = ASIDE.get(schema, ("rollout", "rollout/*"))[name == "scores"]
        files = self.lake.files(name, experiment=experiment, rounds=rounds, part=part, version=version)
        return files if w.lake or name != "scores" else [file for file in files if not file.part.endswith(PEOPLE)]

    def _table_view(self, schema: str, name: str) -> None:
        files, types = self.files(schema, name), sql_types(name)
        if not files:
            nulls = ", ".join(f'null::{kind} as "{c}"' for c, kind in types.items())
            self.connection.execute(f"create view {schema}.{name} as select {nulls} where false")
            return
        if self.lake.local:
            source = source_sql([f.uri for f in files])
        else:
            source = f"remote_{schema}_{name}"
            self.connection.register(source, self.lake.dataset(name, files))
        made, columns = f"create view {schema}.{name} as select", ", ".join(f'"{c}"' for c in types)
        try:
            self.connection.execute(f"{made} {columns} from {source}")
        except duckdb.BinderException:  # files from before a column was added to the table
            present = {row[0] for row in self.connection.execute(f"describe select * from {source}").fetchall()}
            columns = ", ".join(f'"{c}"' if c in present else f'null::{kind} as "{c}"' for c, kind in types.items())
            self.connection.execute(f"{made} {columns} from {source}")

    def _scored_view(self, schema: str, asked: str) -> None:
        self._make(schema, "generations", asked)
        self._make(schema, "scores", asked)
        above = ("rollout/", *(f"{name}/" for name in ASIDE))
        found = {f.part.rpartition("/")[2] for f in self.files(schema, "scores") if f.part.startswith(above)}
        scorers = sorted(found | set(self.window.scorers))
        self.connection.execute(f"create or replace view {schema}.scored as {scored_sql(schema, scorers, asked)}")
