"""SQL over the lake: DuckDB over the files of a snapshot, in three schemas.

- bare names: one round of one experiment, with `scored` = generations joined with one column per scorer;
- `history.<table>`: all earlier rounds of the experiment (the base included);
- `lake.<table>`: everything.
The views of sql/views stand in each schema. A view is made only when the query names it, so opening costs no file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from engine.errors import QueryError
from engine.lake import File, Lake
from engine.registry import nearest
from engine.tables import TABLES

SQL = Path(__file__).parent.parent / "sql"
READS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
SCHEMAS = ("bare", "history", "lake")
# 53 bits of MD5: the same draw on every machine and DuckDB release, unlike hash() and random()
DRAW = "create macro draw(seed, key) as (md5_number_lower(concat(seed, '/', key)) >> 11)::DOUBLE / 9007199254740992.0"
SQL_TYPES = {
    "string": "VARCHAR", "double": "DOUBLE", "float": "FLOAT", "int64": "BIGINT", "int32": "INTEGER", "bool": "BOOLEAN",
    "timestamp[us, tz=UTC]": "TIMESTAMP WITH TIME ZONE",
}
HIVE = "{'experiment': VARCHAR, 'round': INTEGER, 'part': VARCHAR}"


def view_texts() -> dict[str, str]:
    """Shipped views by name."""
    return {path.stem: path.read_text() for path in sorted((SQL / "views").glob("*.sql"))}


@lru_cache
def _shared() -> duckdb.DuckDBPyConnection:
    """An empty database of this process; opening one takes 20 ms."""
    return duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": "false"})


def _scratch() -> duckdb.DuckDBPyConnection:
    """A connection of its own to the empty database, to parse and describe with."""
    return _shared().cursor()


@lru_cache(maxsize=1024)
def tables_of(text: str) -> frozenset[tuple[str, str]]:
    """(schema, name) of every table that a SELECT reads; bare names have schema ''. QueryError for text that is not one."""
    row = _scratch().execute("select json_serialize_sql(?)", [text]).fetchone()
    assert row is not None
    tree = json.loads(row[0])
    if tree["error"]:
        raise QueryError(f"not a SELECT that DuckDB can read: {tree['error_message']}")
    nodes, known = list(_nodes(tree)), set()
    for node in nodes:
        if isinstance(node.get("cte_map"), dict):
            known |= {entry["key"] for entry in node["cte_map"]["map"]}
    found = ((n.get("schema_name", ""), n["table_name"]) for n in nodes if n.get("type") == "BASE_TABLE")
    return frozenset((s, n) for s, n in found if s or n not in known)


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


@dataclass
class Window:
    """What the bare and history schemas show: an experiment, a round of it, and (for the past) table versions."""

    experiment: str | None = None
    round: int | None = None
    versions: dict[str, int] | None = None
    lake: bool = True
    scorers: tuple[str, ...] = ()  # columns of `scored` also where nothing is scored yet
    overlay: dict[str, pa.Table] = field(default_factory=dict)


class Session:
    """A DuckDB connection over one window of the lake; views are made as queries name them."""

    def __init__(self, lake: Lake, window: Window, *, memory_limit: str = "1GB", threads: int | None = None, spill: Path | None = None) -> None:
        self.lake, self.window = lake, window
        config: dict[str, Any] = {"memory_limit": memory_limit, "autoinstall_known_extensions": "false"}
        if spill is not None:
            config["temp_directory"] = str(spill)
        if threads:
            config["threads"] = threads
        self.connection = duckdb.connect(config=config)
        for schema in SCHEMAS:
            self.connection.execute(f"create schema {schema}")
        self.connection.execute("set search_path = 'bare,main'")
        self.connection.execute(DRAW)
        self._made: set[tuple[str, str]] = set()
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
                raise QueryError(f"the query names ${sorted(missing)[0]} and nobody gives it", where=where, hint=f"given: {sorted(params or {})}")
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
        """Makes the views whose names stand in the query, in the schemas where they may be meant."""
        words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", query.lower()))
        named = [name for name in self.names() if name in words]
        for name in named:
            for schema in SCHEMAS:
                if schema == "bare" or schema in words:
                    self._make(schema, name, query)

    def _make(self, schema: str, name: str, query: str) -> None:
        if (schema, name) in self._made or (schema == "lake" and not self.window.lake):
            return
        if schema != "lake" and (self.window.experiment is None or (schema == "history" and self.window.round is None)):
            return
        self._made.add((schema, name))
        if name in self.window.overlay and schema == "bare":
            self.connection.register(f"overlay_{name}", self.window.overlay[name])
            self.connection.execute(f"create view bare.{name} as select * from overlay_{name}")
        elif name in TABLES:
            self._table_view(schema, name)
        elif name == "scored":
            self._scored_view(schema, query)
        else:
            for _, inner in tables_of(self._views[name]):
                self._make(schema, inner, f"{query} *")
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
        part = "rollout" if name == "generations" and schema != "lake" else "rollout/*" if name == "scores" and schema != "lake" else None
        return self.lake.files(name, experiment=experiment, rounds=rounds, part=part, version=version)

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

    def _scored_view(self, schema: str, query: str) -> None:
        self._make(schema, "generations", query)
        self._make(schema, "scores", query)
        found = {f.part.removeprefix("rollout/") for f in self.files(schema, "scores") if f.part.startswith("rollout/")}
        scorers = sorted(found | set(self.window.scorers))
        self.connection.execute(f"create view {schema}.scored as {scored_sql(schema, scorers, query)}")


def scored_sql(schema: str, scorers: Iterable[str], query: str = "*") -> str:
    """`scored`: generations with `score` and `verdict`, and one DOUBLE column for each other scorer.

    A scorer that the query does not name costs no join.
    """
    words = set(re.findall(r"\w+", query.lower())) | ({"*"} if "*" in query else set())
    # an id is unique in a round; joining on constants too costs two CPU seconds in 10 million rows
    keys = {"bare": [], "history": ["round"], "lake": ["experiment", "round"]}[schema]
    also = "".join(f" and s_{{0}}.{key} = g.{key}" for key in keys)
    columns, joins = [], []
    for scorer in dict.fromkeys(["score", *scorers]):
        if scorer != "score" and not {"*", scorer} & words:
            continue
        verdict = ", verdict" if scorer == "score" else ""
        columns.append(f's_{scorer}."value" as "{scorer}"' + (", s_score.verdict" if verdict else ""))
        joins.append(
            f"left join (select experiment, round, item_id, value{verdict} from {schema}.scores where part = 'rollout/{scorer}') s_{scorer} "
            f"on s_{scorer}.item_id = g.generation_id{also.format(scorer)}"
        )
    return f"select g.*, {', '.join(columns)} from (select * from {schema}.generations where part = 'rollout') g {' '.join(joins)}"


def source_sql(uris: Iterable[str]) -> str:
    """read_parquet over the files, with typed partition columns."""
    quoted = ", ".join("'" + uri.replace("'", "''") + "'" for uri in uris)
    return f"read_parquet([{quoted}], hive_partitioning = true, hive_types = {HIVE}, union_by_name = true)"


@lru_cache
def sql_types(name: str) -> dict[str, str]:
    """The DuckDB type of each column of a table."""
    return {column.name: _sql_type(column.type) for column in TABLES[name].schema}


def _sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type. Asking DuckDB would mean to register a table, which imports pandas."""
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{_quoted(kind.field(i).name)} {_sql_type(kind.field(i).type)}' for i in range(kind.num_fields))})"
    if pa.types.is_map(kind):
        return f"MAP({_sql_type(kind.key_type)}, {_sql_type(kind.item_type)})"
    return SQL_TYPES[str(kind)]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def export(lake: Lake) -> str:
    """A SQL script that makes schema `lake` with every table and view over the current snapshot, for any DuckDB client."""
    lines = ["-- Rondo: the lake as it is now; run it in any DuckDB client, then: select * from lake.rounds", "create schema if not exists lake;",
             DRAW.replace("create macro", "create or replace macro") + ";"]
    scorers: set[str] = set()
    for name, table in TABLES.items():
        files = lake.files(name)
        scorers |= {f.part.removeprefix("rollout/") for f in files if name == "scores" and f.part.startswith("rollout/")}
        columns = ", ".join(f'"{c}"' for c in table.schema.names)
        nulls = ", ".join(f'null::{kind} as "{c}"' for c, kind in sql_types(name).items())
        body = f"select {columns} from {source_sql([f.uri for f in files])}" if files else f"select {nulls} where false"
        lines.append(f"create or replace view lake.{name} as {body};")
    lines.append(f"create or replace view lake.scored as {scored_sql('lake', sorted(scorers))};")
    lines.append("set search_path = 'lake,main';")
    views, made = view_texts(), set()

    def add(name: str) -> None:
        if name in made or name not in views:
            return
        made.add(name)
        for _, inner in sorted(tables_of(views[name])):
            add(inner)
        lines.append(f"create or replace view lake.{name} as {views[name].strip().rstrip(';')};")

    for name in views:
        add(name)
    lines.append("reset search_path;")
    return "\n".join(lines) + "\n"


