"""Runs inside the sandbox: one answer's SELECT and the gold query over a small database in memory; says whether they agree.

Standard library only. Reads one JSON object from stdin and prints one, {"verdict", "detail"}. The answer is data here: it is
given to SQLite as one statement, under an authorizer that lets it read and nothing else.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from typing import Any

Row = tuple[Any, ...]
Result = tuple[list[str] | None, list[Row]]

READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
LONGEST = 10_000_000  # bytes of one value
SETS = 100_000  # most rows of an answer that is compared as a set
NO_SQL = re.compile(r"unrecognized token|.*syntax error$|incomplete input$", re.DOTALL)
INSTRUCTIONS = 10_000  # of SQLite's machine between looks at the clock


class Late(Exception):
    """A query took longer than it may."""


def judge(task: dict[str, Any]) -> dict[str, str | None]:
    """The verdict on one task: schema, rows, gold or gold_rows, answer, ordered, columns, as_set, tolerance, seconds."""
    try:
        database = loaded(task["schema"], task["rows"])
    except (sqlite3.Error, sqlite3.Warning, MemoryError, TypeError, ValueError, KeyError) as error:
        return said("error", f"the database cannot be made: {told(error)}")
    guard(database)
    try:
        names, expected = gold_of(database, task)
    except (sqlite3.Error, sqlite3.Warning, MemoryError, Late) as error:
        return said("error", f"the gold query does not run: {told(error)}")
    most = SETS if task["as_set"] else len(expected)
    try:
        found_names, found = query(database, task["answer"], task["seconds"], most + 1)
    except Late as error:
        return said("timeout", told(error))
    except (sqlite3.Error, sqlite3.Warning, MemoryError, ValueError) as error:  # ValueError: text with a null or half a surrogate pair
        text = told(error)
        if text in ("not authorized", "authorization denied"):
            text = "not allowed: an answer is one query that reads the given tables"
        return said("unparseable" if NO_SQL.match(text) else "wrong", text)
    if found_names is None:
        return said("unparseable", "no query found")
    detail = difference(task, (names, expected), (found_names, found), most)
    return said("right" if detail is None else "wrong", detail)


def gold_of(database: sqlite3.Connection, task: dict[str, Any]) -> Result:
    """(column names or None, rows) that the answer has to give."""
    if task["gold_rows"] is not None:
        # JSON has booleans, SQLite has not
        return None, [tuple(int(value) if isinstance(value, bool) else value for value in row) for row in task["gold_rows"]]
    names, rows = query(database, task["gold"], task["seconds"], None)
    if names is None:
        raise sqlite3.OperationalError("there is no query in it")
    return names, rows


def loaded(schema: str, rows: str | dict[str, list[Any]]) -> sqlite3.Connection:
    """A database in memory. `rows`: SQL text, or {table: [[value, ...] or {column: value}]}."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.text_factory = lambda data: data.decode("utf-8", "replace")
    database.executescript(schema)
    if isinstance(rows, str):
        database.executescript(rows)
        return database
    for table, values in rows.items():
        for row in values:
            columns = f" ({', '.join(map(quoted, row))})" if isinstance(row, dict) else ""
            given = list(row.values()) if isinstance(row, dict) else list(row)
            places = ", ".join("?" * len(given))
            database.execute(f"insert into {quoted(table)}{columns} values ({places})", given)
    return database


def guard(database: sqlite3.Connection) -> None:
    """From here on the database can only be read."""
    # the first use of a table function makes it, which the authorizer would refuse
    database.execute("select 1 from json_each('[]'), json_tree('[]')")
    database.execute("pragma query_only = 1")
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    database.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY)


def query(database: sqlite3.Connection, text: str, seconds: float, most: int | None) -> Result:
    """(column names, at most `most` rows) of one statement; names are None where the text holds none. Late after `seconds` of CPU."""
    end = time.process_time() + seconds
    database.set_progress_handler(lambda: time.process_time() > end, INSTRUCTIONS)
    try:
        cursor = database.execute(text)
        rows = cursor.fetchall() if most is None else cursor.fetchmany(most)
        return None if cursor.description is None else [column[0] for column in cursor.description], rows
    except sqlite3.OperationalError as error:
        if str(error) == "interrupted":
            raise Late(f"the query ran for more than {seconds:g} s") from None
        raise
    finally:
        database.set_progress_handler(None, 0)


def difference(task: dict[str, Any], gold: Result, answer: tuple[list[str], list[Row]], most: int) -> str | None:
    """None where the results agree, else how they differ, in words."""
    (names, expected), (found_names, found) = gold, answer
    width = len(names) if names is not None else len(expected[0]) if expected else len(found_names)
    if len(found_names) != width:
        return f"found {len(found_names)} columns, expected {width}"
    if task["columns"] and names is not None and [n.lower() for n in found_names] != [n.lower() for n in names]:
        return f"found the columns {', '.join(found_names)}, expected {', '.join(names)}"
    if len(found) > most:
        return f"found more than {most} rows" + ("" if task["as_set"] else f", expected {len(expected)}")
    if task["as_set"]:
        expected, found = list(dict.fromkeys(expected)), list(dict.fromkeys(found))
    if task["ordered"]:
        for number, (left, right) in enumerate(zip(found, expected, strict=False), 1):
            if not alike(left, right, task["tolerance"]):
                return f"row {number}: found {short(left)}, expected {short(right)}"
        missing, more = expected[len(found) :], found[len(expected) :]
    else:
        missing, more = unmatched(expected, found, task["tolerance"])
    if not missing and not more:
        return None
    told_rows = [f"{word} {short(rows[0])}" for word, rows in (("missing", missing), ("unexpected", more)) if rows]
    return f"found {len(found)} rows, expected {len(expected)}: {', '.join(told_rows)}"


def unmatched(expected: list[Row], found: list[Row], tolerance: float) -> tuple[list[Row], list[Row]]:
    """(rows of `expected`, rows of `found`) that have no partner on the other side, each row having one partner at most."""
    wanted, given = Counter(expected), Counter(found)
    left, right = list((wanted - given).elements()), list((given - wanted).elements())
    by_words = defaultdict(list)
    for row in sorted(right, key=order_of_numbers):
        by_words[words(row)].append(row)
    missing = []
    for row in sorted(left, key=order_of_numbers):
        near = by_words[words(row)]
        at = next((index for index, other in enumerate(near) if alike(other, row, tolerance)), None)
        if at is None:
            missing.append(row)
        else:
            del near[at]
    return missing, [row for near in by_words.values() for row in near]


def words(row: Row) -> Row:
    """What two rows that are alike share exactly: all but the numbers."""
    return tuple(... if isinstance(value, (int, float)) else value for value in row)


def order_of_numbers(row: Row) -> list[Any]:
    """A key by which rows of the same words stand by their numbers, so that partners mostly meet first."""
    return [value for value in row if isinstance(value, (int, float))]


def alike(left: Row, right: Row, tolerance: float) -> bool:
    """Whether two rows agree: whole numbers, text, blobs and nulls exactly, others to an absolute or relative difference."""
    return len(left) == len(right) and all(same(one, other, tolerance) for one, other in zip(left, right, strict=True))


def same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, (int, float)) and isinstance(other, (int, float)) and float in (type(one), type(other)):
        return one == other or math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    return type(one) is type(other) and one == other


def quoted(name: str) -> str:
    return '"' + str(name).replace('"', '""') + '"'


def short(row: Row) -> str:
    text = repr(tuple(row))
    return text if len(text) <= 120 else text[:117] + "..."


def told(error: BaseException) -> str:
    return "not enough memory" if isinstance(error, MemoryError) else str(error) or type(error).__name__


def said(verdict: str, detail: str | None = None) -> dict[str, str | None]:
    return {"verdict": verdict, "detail": detail}


if __name__ == "__main__":
    json.dump(judge(json.load(sys.stdin)), sys.stdout)
