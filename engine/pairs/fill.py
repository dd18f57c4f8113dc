"""Runs a pairing's SQL once, fills in messages from the round's answers, and checks the result row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.types as pt

from engine.errors import QueryError, SchemaError
from engine.ids import digest
from engine.pairs import SIDES, answers
from engine.registry import nearest
from engine.sqlfile import SqlFile
from engine.step import Context
from engine.stepsql import StepSql
from engine.tables import TABLES, check

COLUMNS = TABLES["pairs"].columns
MESSAGES = ("messages", *SIDES)
NUMBERS = ("margin", "probability", "weight")
FILLED = ("ref_chosen_logps", "ref_rejected_logps")
PLAIN, MARKED = {"role", "content"}, {"role", "content", "origin", "weight"}
Row = dict[str, Any]


def pair(ctx: Context, sql: StepSql) -> pa.Table:
    """The rows of `pairs` that the SQL gives, in order of prompt and row id, without reference values. QueryError names file, column
    and row."""
    file, params = sql.file, sql.bound(ctx.spec, ctx.round)
    fits(sql.probe(ctx.sql, params), file)
    try:
        given = ctx.sql(file.query(), params)
    except QueryError as error:
        raise QueryError(error.message, where=str(file.path), hint=error.hint) from error
    found = _Answers(ctx, sql, given)
    rows = [_row(file, number, row, found, ctx.round) for number, row in enumerate(given.to_pylist(), start=1)]
    _once(file, rows)
    rows.sort(key=lambda row: (row["prompt_id"], row["row_id"]))
    try:
        return check("pairs", pa.Table.from_pylist(rows, schema=COLUMNS))
    except (SchemaError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise QueryError(str(error), where=str(file.path), hint="cast it in the SQL") from error


def fits(probe: pa.Schema, file: SqlFile) -> None:
    """QueryError where the result's columns and types are not those of `pairs`."""
    for name in probe.names:
        if name not in COLUMNS.names or name in FILLED:
            allowed = [column for column in COLUMNS.names if column not in FILLED]
            raise QueryError(
                f"column {name!r} is not one that the SQL of `pairs` gives",
                where=str(file.path),
                hint=f"{nearest(name, allowed)} further numbers go into extra: MAP {{'{name}': ...}}",
            )
    lost = [side for side in SIDES[:2] if not {side, f"{side}_id"} & set(probe.names)]
    if "prompt_id" not in probe.names or lost:
        text = f"expected prompt_id, chosen_id or chosen, and rejected_id or rejected; found {probe.names}"
        raise QueryError(text, where=str(file.path), hint="add the column to the SELECT")
    for column in probe:
        if not _fits(column.name, column.type):
            text = f"expected {_expected(column.name)}, found {column.type}"
            raise QueryError(text, where=f"{file.path}: column {column.name}", hint="cast it in the SQL")


def _fits(name: str, kind: pa.DataType) -> bool:
    if pt.is_null(kind):
        return True
    if name in MESSAGES:
        return pt.is_list(kind) and pt.is_struct(kind.value_type) and {f.name for f in kind.value_type} in (PLAIN, MARKED)
    if name == "extra":
        return pt.is_map(kind)
    if name == "source_round":
        return pt.is_integer(kind)
    if name in NUMBERS:
        return pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind)
    return pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind)


def _expected(name: str) -> str:
    if name in MESSAGES:
        return "a list of {role, content} or of {role, content, origin, weight}"
    if name == "extra":
        return "a map from text to numbers, such as MAP {'win_chosen': 0.7}"
    return "numbers" if name in (*NUMBERS, "source_round") else "text"


class _Answers:
    """The answers that the pairs name, with what each was asked."""

    def __init__(self, ctx: Context, sql: StepSql, given: pa.Table) -> None:
        ids = {value for side in SIDES if f"{side}_id" in given.column_names for value in given[f"{side}_id"].to_pylist()}
        self.prompts = {row["prompt_id"]: row["messages"] for row in ctx.sql("select prompt_id, messages from prompts", {}).to_pylist()}
        self.by_id: dict[str, Row] = {}
        if not answers(sql):
            return
        columns = "generation_id, prompt_id, response, actor"
        queries = [f"select {columns}, messages from generations"]
        if any(name.startswith("followup.") for name in sql.tables):
            # a second generation saw messages of its own; what trains is an answer to the prompt
            queries.append(f"select {columns}, null as messages from followup.generations")
        for query in queries:
            for row in ctx.sql(query, {}).to_pylist():
                if row["generation_id"] in ids:
                    self.by_id[row["generation_id"]] = row

    def asked(self, answer: Row | None, prompt_id: str) -> list[Row] | None:
        """What an answer was asked; without one, the prompt."""
        return answer["messages"] if answer and answer["messages"] else self.prompts.get(prompt_id)


def _row(file: SqlFile, number: int, given: Row, found: _Answers, round_: int) -> Row:
    """A row of `pairs`. QueryError where a side, its prompt or a number is missing or wrong."""

    def fail(column: str, text: str, hint: str) -> NoReturn:
        raise QueryError(text, where=f"{file.path}: column {column}, row {number}", hint=hint)

    row: Row = {name: given.get(name) for name in COLUMNS.names} | dict.fromkeys(FILLED)
    if row["prompt_id"] is None:
        fail("prompt_id", "null where a prompt's id is needed", "every pair names its prompt")
    row["source_round"] = round_ if row["source_round"] is None else row["source_round"]
    written: dict[str, Row | None] = {}
    for side in SIDES:
        name, known = row[f"{side}_id"], found.by_id.get(row[f"{side}_id"])
        written[side] = known
        if name is not None and known is None and not (row[side] and row["source_round"] < round_):
            fail(f"{side}_id", f"{name!r} is no answer of this round", "take it from generations, scored or preferences")
        if known and known["prompt_id"] != row["prompt_id"]:
            fail(
                f"{side}_id",
                f"the answer belongs to prompt {known['prompt_id']!r}, the pair to {row['prompt_id']!r}",
                "pair answers of one prompt",
            )
        if row[side] is None and known:
            row[side] = [{"role": "assistant", "content": known["response"], "origin": known["actor"], "weight": 1.0}]
        elif row[side] is not None:
            row[side] = [_marked(message) for message in row[side]]
        if not row[side] and side != "third":
            fail(side, f"the pair has no {side} answer", f"give {side}_id or {side}, or leave the pair out")
    asked = row["messages"] or found.asked(written["chosen"], row["prompt_id"])
    if not asked:
        fail("prompt_id", f"the prompt {row['prompt_id']!r} is not among this round's prompts", "look at the table prompts of this round")
    row["messages"] = [_marked(message) | {"weight": 0.0} for message in asked]
    weight = row["weight"] = 1.0 if row["weight"] is None else float(row["weight"])
    if not 0 <= weight < float("inf"):
        fail("weight", f"{weight!r} is no weight", "a number from 0 up")
    row["margin"], row["probability"] = (None if row[name] is None else float(row[name]) for name in ("margin", "probability"))
    if row["probability"] is not None and not 0 <= row["probability"] <= 1:
        fail("probability", f"{row['probability']!r} is no probability", "a number from 0 to 1")
    row["origin"] = row["origin"] or "generation"
    row["extra"] = None if row["extra"] is None else [(key, None if value is None else float(value)) for key, value in row["extra"]]
    row["row_id"] = row["row_id"] or digest(row["prompt_id"], *_named(row), row["origin"], row["source_round"])
    return row


def _named(row: Row) -> Iterator[Any]:
    for side in SIDES:
        yield row[f"{side}_id"] or [[message["role"], message["content"]] for message in row[side] or ()]


def _marked(message: Row) -> Row:
    answer = message["role"] == "assistant"
    origin = message.get("origin") or ("given" if answer else "prompt")
    weight = message.get("weight")
    return {"role": message["role"], "content": message["content"], "origin": origin, "weight": float(answer if weight is None else weight)}


def _once(file: SqlFile, rows: list[Row]) -> None:
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        if row["row_id"] in seen:
            text = f"the pair of prompt {row['prompt_id']!r} stands in rows {seen[row['row_id']]} and {number}"
            raise QueryError(
                text, where=f"{file.path}: column row_id, row {number}", hint="give each pair once; `weight` says how much it counts"
            )
        seen[row["row_id"]] = number
