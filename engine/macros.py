"""The macros of sql/macros, for any SQL: allocation, shares, draws, schedules.

Each file is one CREATE MACRO, named as its file, under a comment that says what it does, its arguments and its source.
A session makes the macros that a query calls, and what they call themselves; nothing is read for one that calls none.
Their text is part of the SQL that calls them, so it enters that SQL's fingerprint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import duckdb

from engine.views import DRAW, SQL, stripped

FOLDER = SQL / "macros"
HEAD = re.compile(r"CREATE MACRO (\w+)\s*\(", re.IGNORECASE)
SIGNATURE = re.compile(r"CREATE MACRO \w+\s*\([^)]*\)\s*AS\b", re.IGNORECASE)
CALL = re.compile(r"\b([a-z_]\w*)\s*\(", re.IGNORECASE)


def names() -> frozenset[str]:
    """Every shipped macro."""
    return frozenset(path.stem for path in FOLDER.glob("*.sql"))


def text(name: str) -> str:
    """The file of one macro, comments and all."""
    return (FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def body(name: str) -> str:
    """The expression that a macro stands for, without comments."""
    return SIGNATURE.sub("", stripped(text(name)), count=1).strip()


def called(*texts: str) -> list[str]:
    """The macros that SQL texts call, directly or through each other, each after those that it calls itself."""
    known, found = names(), []

    def add(code: str) -> None:
        for name in sorted({match.lower() for match in CALL.findall(code)} & known):
            if name not in found:
                add(HEAD.sub("", stripped(text(name)), count=1))
                found.append(name)

    for one in texts:
        add(stripped(one))
    return found


def statement(name: str) -> str:
    """The statement that makes a macro, or puts the shipped text in the place of one."""
    return HEAD.sub(r"CREATE OR REPLACE MACRO \1(", stripped(text(name)), count=1)


def make(connection: duckdb.DuckDBPyConnection, texts: Iterable[str], made: set[str]) -> None:
    """Makes the macros that `texts` call in the connection's schema `main`, but for those in `made`, which grows by them."""
    for name in called(*texts):
        if name not in made:
            connection.execute(HEAD.sub(r"CREATE MACRO main.\1(", stripped(text(name)), count=1))
            made.add(name)


def script() -> list[str]:
    """A statement for `draw` and for every macro, in an order in which they can be made."""
    return [
        DRAW.replace("create macro", "create or replace macro"),
        *(statement(name) for name in called(*(f"{n}()" for n in sorted(names())))),
    ]
