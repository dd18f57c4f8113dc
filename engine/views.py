"""The texts behind the views: which tables a SELECT reads, `scored`, sources over Parquet files, and the exported script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from engine.errors import QueryError
from engine.lake import Lake
from engine.tables import TABLES

SQL = Path(__file__).parent.parent / "sql"
# 53 bits of MD5: the same draw on every machine and DuckDB release, unlike hash() and random()
DRAW = "create macro draw(seed, key) as (md5_number_lower(concat(seed, '/', key)) >> 11)::DOUBLE / 9007199254740992.0"
SQL_TYPES = {
    "string": "VARCHAR",
    "double": "DOUBLE",
    "float": "FLOAT",
    "int64": "BIGINT",
    "int32": "INTEGER",
    "bool": "BOOLEAN",
    "timestamp[us, tz=UTC]": "TIMESTAMP WITH TIME ZONE",
}
TOKEN = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|\$\$.*?\$\$)|--[^\n]*|/\*.*?\*/|\s+""", re.DOTALL)
HIVE = "{'experiment': VARCHAR, 'round': INTEGER, 'part': VARCHAR}"


def view_texts() -> dict[str, str]:
    """Shipped views by name."""
    return {path.stem: path.read_text() for path in sorted((SQL / "views").glob("*.sql"))}


def stripped(text: str) -> str:
    """SQL without comments and with single blanks."""
    return TOKEN.sub(lambda match: match[1] or " ", text).strip().rstrip("; ")


@lru_cache
def _shared() -> duckdb.DuckDBPyConnection:
    """An empty database of this process; opening one takes 20 ms."""
    return duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": "false"})


def _scratch() -> duckdb.DuckDBPyConnection:
    """A connection of its own to the empty database, to parse and describe with."""
    return _shared().cursor()


@lru_cache(maxsize=1024)
def tree_of(text: str) -> Any:
    """DuckDB's syntax tree of a SELECT. QueryError for text that is not one."""
    row = _scratch().execute("select json_serialize_sql(?)", [text]).fetchone()
    assert row is not None
    tree = json.loads(row[0])
    if tree["error"]:
        raise QueryError(f"not a SELECT that DuckDB can read: {tree['error_message']}")
    return tree


def nodes_of(tree: Any) -> Iterator[dict[str, Any]]:
    """Every node of a syntax tree."""
    if isinstance(tree, dict):
        yield tree
    for value in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from nodes_of(value)


@lru_cache(maxsize=1024)
def tables_of(text: str) -> frozenset[tuple[str, str]]:
    """(schema, name) of every table that a SELECT reads; bare names have schema ''. QueryError for text that is not one."""
    nodes, known = list(nodes_of(tree_of(text))), set()
    for node in nodes:
        if isinstance(node.get("cte_map"), dict):
            known |= {entry["key"] for entry in node["cte_map"]["map"]}
    found = ((n.get("schema_name", ""), n["table_name"]) for n in nodes if n.get("type") == "BASE_TABLE")
    return frozenset((s, n) for s, n in found if s or n not in known)


def scored_sql(schema: str, scorers: Iterable[str], query: str = "*") -> str:
    """`scored`: generations with `score` and `verdict`, and one DOUBLE column for each other scorer.

    A scorer that the query does not name costs no join.
    """
    words = set(re.findall(r"\w+", query.lower())) | ({"*"} if "*" in query else set())
    of = {"calibrate": "part = 'calibrate{0}'", "followup": "part like 'followup/%{0}'"}.get(schema, "part = 'rollout{0}'")
    # an id is unique in a round; joining on constants too costs two CPU seconds in 10 million rows
    keys: list[str] = {"history": ["round"], "lake": ["experiment", "round"]}.get(schema, [])
    also = "".join(f" and s_{{0}}.{key} = g.{key}" for key in keys)
    columns, joins = [], []
    for scorer in dict.fromkeys(["score", *scorers]):
        if scorer != "score" and not {"*", scorer} & words:
            continue
        verdict = ", verdict" if scorer == "score" else ""
        columns.append(f's_{scorer}."value" as "{scorer}"' + (", s_score.verdict" if verdict else ""))
        joins.append(
            f"left join (select experiment, round, item_id, value{verdict} from {schema}.scores where {of.format('/' + scorer)}) "
            f"s_{scorer} on s_{scorer}.item_id = g.generation_id{also.format(scorer)}"
        )
    return f"select g.*, {', '.join(columns)} from (select * from {schema}.generations where {of.format('')}) g {' '.join(joins)}"


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
    """A SQL script that makes schema `lake` with every table and view over the current snapshot, for any DuckDB client.

    The macros of sql/macros come with it, in the schema that the client is in.
    """
    from engine.macros import script

    lines = [
        "-- Rondo: the lake as it is now; run it in any DuckDB client, then: select * from lake.rounds",
        "create schema if not exists lake;",
        *(f"{statement};" for statement in script()),
    ]
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
