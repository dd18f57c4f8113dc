"""The combined score: one SQL expression over the scorers' columns, computed by DuckDB for every generation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine.errors import SpecError, StepError
from engine.registry import nearest
from engine.score import RIGHT

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow as pa

ITEM = "__item"
_CHANGING = re.compile(
    r"\b(random|setseed|uuid|gen_random_uuid|now|today|get_current_\w+|current_(?:date|time|timestamp))\b", re.IGNORECASE
)
_NUMERIC = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "BIGNUM")


def _connect() -> duckdb.DuckDBPyConnection:
    import duckdb

    return duckdb.connect(config={"enable_external_access": "false", "threads": "1"})


def _query(expression: str) -> str:
    # the line breaks keep a comment at the end of the expression from hiding the bracket
    return f"select {ITEM}, (\n{expression}\n) as value from wide"


def check_combine(expression: str, names: list[str]) -> None:
    """SpecError unless `expression` is SQL that gives one number from the scorer columns `names` (doubles), row by row."""
    import duckdb

    changing = _CHANGING.search(expression)
    if changing:
        raise SpecError(f"combine: {changing[0]!r} gives something else at every run: {expression!r}")
    columns = "".join(f', "{name}" DOUBLE' for name in names)
    with _connect() as connection:
        connection.execute(f"create table wide ({ITEM} VARCHAR{columns})")
        try:
            found = connection.execute(f"describe {_query(expression)}").fetchall()
        except duckdb.BinderException as error:
            missing = re.search(r'column "([^"]+)"', str(error))
            if missing and "not found" in str(error):
                raise SpecError(f"combine: no scorer {missing[1]!r} in {expression!r}", hint=nearest(missing[1], names)) from error
            raise SpecError(f"combine: {_first(error)}", hint=f"an expression over {', '.join(names)}") from error
        except duckdb.Error as error:
            raise SpecError(f"combine: {_first(error)}, in {expression!r}", hint=f"an expression over {', '.join(names)}") from error
    if len(found) != 2:
        raise SpecError(f"combine: expected one expression, found {len(found) - 1}: {expression!r}")
    kind = str(found[1][1])
    if not any(word in kind for word in _NUMERIC) or kind.endswith("]") or "(" in kind.replace("DECIMAL(", ""):
        hint = f"write ({expression})::DOUBLE" if kind == "BOOLEAN" else f"an expression over {', '.join(names)}"
        raise SpecError(f"combine: expected a number, found {kind}: {expression!r}", hint=hint)


def _first(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def combined(expression: str, wide: pa.Table) -> pa.Table:
    """Columns `__item` and `value` (double, may be null) for every row of `wide` (`__item` and one column a scorer).

    StepError where DuckDB cannot compute a row, or a value is not finite.
    """
    import duckdb

    with _connect() as connection:
        connection.register("wide", wide)
        try:
            found = connection.sql(f"select {ITEM}, value::DOUBLE as value from ({_query(expression)})").to_arrow_table()
            odd = connection.execute(f"select {ITEM} from ({_query(expression)}) where not isfinite(value::DOUBLE) limit 1").fetchone()
        except duckdb.Error as error:
            raise StepError(f"combine: {_first(error)}, in {expression!r}") from error
    if odd:
        raise StepError(f"combine: {expression!r} is not finite for generation {odd[0]}", hint="guard the division in `combine`")
    return found


def wide(scores: dict[str, pa.Table], label: str) -> pl.DataFrame:
    """From each scorer's rows: __item, prompt_id, and for each name its value, `verdict <name>` and `detail <name>`.

    StepError where two scorers have not scored the same generations.
    """
    import polars as pl

    whole: pl.DataFrame | None = None
    for name, table in scores.items():
        one = pl.from_arrow(table)
        assert isinstance(one, pl.DataFrame)
        one = one.select(
            pl.col("item_id").alias(ITEM),
            "prompt_id",
            pl.col("value").alias(name),
            pl.col("verdict").alias(f"verdict {name}"),
            pl.col("detail").alias(f"detail {name}"),
        )
        if whole is None:
            whole, first = one, name
            continue
        joined = whole.join(one.drop("prompt_id"), on=ITEM, how="inner", maintain_order="left", validate="1:1")
        if not joined.height == whole.height == one.height:
            raise StepError(
                f"{label}: {first} scored {whole.height} generations, {name} {one.height}, both {joined.height}",
                hint="run the round again from its scores",
            )
        whole = joined
    assert whole is not None
    return whole


def first_not_right(names: list[str]) -> tuple[pl.Expr, pl.Expr]:
    """The first verdict that is not right, in the scorers' order, and its detail; `right` where all that judge say so."""
    import polars as pl

    verdicts = [pl.col(f"verdict {name}") for name in names]
    wrong = [(verdict.is_not_null() & (verdict != RIGHT)) for verdict in verdicts]
    verdict = pl.coalesce(*[pl.when(bad).then(v) for bad, v in zip(wrong, verdicts, strict=True)], *verdicts)
    which = pl.coalesce(*[pl.when(bad).then(pl.lit(i)) for i, bad in enumerate(wrong)])
    detail = pl.coalesce(*[pl.when(which == i).then(pl.col(f"detail {name}")) for i, name in enumerate(names)])
    return verdict, detail
