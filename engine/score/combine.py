"""The combined score: one SQL expression over the scorers' columns, computed by DuckDB for every generation.

The expression may call the macros of sql/macros, those `*_within` among them, which look at the other answers to the prompt, of
the cluster or of the part. A scorer's null (a judge whose reply could not be read) makes the result null, but where the
expression says coalesce; and DuckDB's greatest and least pass nulls over. An answer without a score stays, and is never selected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine import macros, tables
from engine.errors import SpecError, StepError
from engine.ids import digest
from engine.registry import nearest
from engine.score import RIGHT
from engine.score.expression import ITEM, Expression

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow as pa

_NUMERIC = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "BIGNUM")


def _connect(expression: Expression) -> duckdb.DuckDBPyConnection:
    """One thread and rows in one order: a window gives the same bits twice."""
    import duckdb

    from engine.views import DRAW

    connection = duckdb.connect(config={"enable_external_access": "false", "threads": "1"})
    connection.execute(DRAW)
    macros.make(connection, [expression.text], set())
    return connection


def check_combine(expression: str, names: list[str]) -> None:
    """SpecError unless `expression` is SQL that gives one number from the scorer columns `names` and what stands beside them."""
    import duckdb

    found = Expression(expression, tuple(names))
    found.require_stable()
    columns, hint = ", ".join(f'null::{kind} as "{name}"' for name, kind in found.columns.items()), f"an expression over {', '.join(names)}"
    with _connect(found) as connection:
        connection.execute(f"create view wide as select {columns}")
        try:
            kind = str(connection.execute(f"describe {found.query}").fetchall()[1][1])
        except duckdb.Error as error:
            raise _wrong(found, error, hint) from error
    if not any(word in kind for word in _NUMERIC) or kind.endswith("]") or "(" in kind.replace("DECIMAL(", ""):
        hint = f"write ({expression})::DOUBLE" if kind == "BOOLEAN" else hint
        raise SpecError(f"combine: expected a number, found {kind}: {expression!r}", hint=hint)


def check_waves(expression: Expression) -> None:
    """SpecError where the score depends on other answers, which a wave of `generate.until` does not have yet."""
    window = expression.window
    if window:
        raise SpecError(
            f"combine: {window} looks at other answers, and generate.until judges an answer before the others are made",
            hint="combine row by row, and compare answers where all are there: a file of `measure` or `select` may call the same macros",
        )


def _wrong(expression: Expression, error: duckdb.Error, hint: str) -> SpecError:
    """DuckDB's complaint in the words of the spec."""
    text = str(error)
    missing, function = re.search(r'column "([^"]+)"', text), re.search(r"Function with name \"?(\w+)\"? does not exist", text)
    if missing and "not found" in text:
        return SpecError(f"combine: no scorer {missing[1]!r} in {expression.text!r}", hint=expression.unknown(missing[1]))
    if function:
        close = nearest(function[1], sorted(macros.names()))
        return SpecError(f"combine: no function {function[1]!r} in {expression.text!r}", hint=close if close.startswith("did") else hint)
    if "GROUP BY" in text:
        hint = "row by row: greatest(a, b); over the answers of a prompt: max(x) over (partition by prompt_id)"
        return SpecError(f"combine: an aggregate gives one number for all answers: {expression.text!r}", hint=hint)
    return SpecError(f"combine: {_first(error)}, in {expression.text!r}", hint=hint)


def _first(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def combined(expression: Expression, wide: pa.Table) -> pa.Table:
    """Columns `generation_id` and `value` (double, may be null) for every row of `wide` (the ids and what the expression names).

    StepError where DuckDB cannot compute a row, or a value is not finite.
    """
    import duckdb
    import pyarrow.compute as pc

    with _connect(expression) as connection:
        connection.register("wide", wide.sort_by(ITEM))
        try:
            found = connection.sql(f"select {ITEM}, value::DOUBLE as value from ({expression.query})").to_arrow_table()
        except duckdb.Error as error:
            raise StepError(f"combine: {_first(error)}, in {expression.text!r}") from error
    odd = found.filter(pc.invert(pc.is_finite(found["value"])))
    if odd.num_rows:
        first = min(odd[ITEM].to_pylist())
        hint = "guard the division in `combine`"
        raise StepError(f"combine: {expression.text!r} is not finite for generation {first} ({odd.num_rows} such)", hint=hint)
    return found


def beside(expression: Expression, wide: pl.DataFrame, generations: pa.Table | None, prompts: list[pa.Table], label: str) -> pl.DataFrame:
    """`wide` (as `wide` gives it) with the further columns that the expression names, from the answers and their prompts.

    StepError where an answer or its prompt is not among them.
    """
    import polars as pl

    found = wide.with_columns([pl.col(f"{kind} {scorer}").alias(name) for name, (kind, scorer) in expression.said.items()])
    if expression.of_generations:
        assert generations is not None
        own = pl.from_arrow(generations.select([ITEM, *sources(expression)]))
        assert isinstance(own, pl.DataFrame)
        if "characters" in expression.of_generations:
            own = own.with_columns(characters=pl.col("response").str.len_chars())
        found = found.join(own.select(ITEM, *expression.of_generations), on=ITEM, how="inner", maintain_order="left", validate="1:1")
    if expression.of_prompts:
        asked = pl.concat([pl.DataFrame(table.select(["prompt_id", *expression.of_prompts])) for table in prompts])
        found = found.join(asked, on="prompt_id", how="inner", maintain_order="left", validate="m:1")
    if found.height != wide.height:
        lost = wide.join(found, on=ITEM, how="anti")[ITEM].sort()[0]
        raise StepError(f"{label}: {wide.height} answers in, {found.height} with their prompt; {lost} is among the lost")
    return found


def sources(expression: Expression) -> list[str]:
    """The columns of `generations` behind those that the expression names."""
    return ["response" if name == "characters" else name for name in expression.of_generations]


def wide(scores: dict[str, pa.Table], label: str) -> pl.DataFrame:
    """From each scorer's rows: generation_id, prompt_id, and for each name its value, `verdict <name>` and `detail <name>`.

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


def score_rows(
    expression: Expression, scores: dict[str, pa.Table], answers: pa.Table | None, asked: list[pa.Table], label: str
) -> pa.Table:
    """Rows of `scores` with the combined score of every answer, filed as scorer `score`.

    `scores`: each scorer's rows; `answers` and `asked`: the answers and their prompts, where the expression names columns of theirs.
    StepError where a scorer has not scored an answer, or the expression cannot be computed.
    """
    import polars as pl

    names, settings = list(expression.scorers), expression.settings()
    table = wide(scores, label)
    known = beside(expression, table, answers, asked, label)
    values = pl.DataFrame(combined(expression, known.select(sorted({ITEM, *expression.names})).to_arrow()))
    if values.height != table.height:
        raise StepError(f"{label}: {table.height} generations in, {values.height} values out")
    found = table.join(values, on=ITEM, how="left", maintain_order="left", validate="1:1")
    verdict, detail = first_not_right(names)
    rows = found.select(
        pl.col(ITEM).alias("item_id"),
        "prompt_id",
        "value",
        verdict.alias("verdict"),
        detail.alias("detail"),
        item_kind=pl.lit("generation"),
        scorer=pl.lit("score"),
        scorer_version=pl.lit(digest("score", *settings.values(), names)),
    )
    return tables.check("scores", rows.to_arrow())
