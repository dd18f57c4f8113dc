"""A database with every macro of sql/macros, and a way to ask it."""

import duckdb
import pytest

from engine import macros


@pytest.fixture(scope="module")
def db():
    """A database with every macro."""
    connection = duckdb.connect(config={"threads": 1})
    for statement in macros.script():
        connection.execute(statement)
    return connection


@pytest.fixture(scope="module")
def ask(db):
    """The value of one expression; `?` marks are bound."""
    return lambda expression, *values: db.execute(f"select {expression}", list(values)).fetchone()[0]
