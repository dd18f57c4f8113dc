"""Runs a selection's SQL once, fills in messages from the round's answers, and checks the result row by row.

One query does both: the ranking sees only what the SQL names, and texts are fetched for the chosen rows alone.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from engine.errors import QueryError, SchemaError
from engine.ids import digest
from engine.registry import nearest
from engine.select import answers
from engine.sqlfile import SqlFile
from engine.step import Context
from engine.stepsql import StepSql
from engine.tables import MESSAGES, TABLES, check

COLUMNS = TABLES["selected"].columns
WHOLE = ("cluster_id", "rank", "source_round")
NUMBERS = ("weight", "order")
EXTRA = "extra"
MESSAGE = "{{'role': m.role, 'content': m.content, 'origin': {origin}, 'weight': {weight}}}"


def select(ctx: Context, sql: StepSql) -> pa.Table:
    """The rows of `selected` that the SQL chooses, in order of prompt, rank and row id; empty where it chooses none.

    QueryError names file, column and row.
    """
    file, params, source = sql.file, sql.bound(ctx.spec, ctx.round), _source(ctx, sql)
    kinds = fits(sql.probe(ctx.sql, params), file, source is not None)
    try:
        rows = ctx.sql(_query(file, kinds, source), params)
    except QueryError as error:
        raise QueryError(error.message, where=str(file.path), hint=error.hint) from error
    if not rows.num_rows:
        return COLUMNS.empty_table()
    _check_rows(file, rows, ctx.round)
    return _finish(file, rows, ctx.round)


def fits(probe: pa.Schema, file: SqlFile, answers: bool) -> dict[str, pa.DataType]:
    """The result's columns and types. QueryError where they are not those of `selected`."""
    if len(set(probe.names)) < len(probe.names):
        raise QueryError(f"a column stands twice in {probe.names}", where=str(file.path), hint="name each column once")
    for name in probe.names:
        if name not in COLUMNS.names:
            raise QueryError(f"column {name!r} is not one of `selected`", where=str(file.path), hint=nearest(name, COLUMNS.names))
    if "prompt_id" not in probe.names or not {"generation_id", "messages"} & set(probe.names):
        text = f"expected prompt_id and generation_id or messages, found {probe.names}"
        raise QueryError(text, where=str(file.path), hint="add the column to the SELECT")
    for column in probe:
        if not _fits(column.name, column.type):
            text = f"expected {_expected(column.name)}, found {column.type}"
            raise QueryError(text, where=f"{file.path}: column {column.name}", hint="cast it in the SQL")
    if "generation_id" in probe.names and not answers and "messages" not in probe.names:
        raise QueryError(
            "the SQL gives generation_id, but it reads no answers of this round",
            where=f"{file.path}: column generation_id",
            hint="give messages too, as history.selected has them",
        )
    return dict(zip(probe.names, probe.types, strict=True))


def _fits(name: str, kind: pa.DataType) -> bool:
    if name == "messages":
        fields = {f.name for f in kind.value_type} if pt.is_list(kind) and pt.is_struct(kind.value_type) else set()
        return fields in ({"role", "content"}, {"role", "content", "origin", "weight"})
    if name == EXTRA:
        return pt.is_map(kind) or pt.is_null(kind)
    if name in WHOLE:  # DuckDB's count and sum of integers may be 128 bits wide, a decimal without a scale in Arrow
        return pt.is_integer(kind) or pt.is_null(kind) or (pt.is_decimal(kind) and kind.scale == 0)
    if name in NUMBERS:
        return pt.is_integer(kind) or pt.is_floating(kind) or pt.is_decimal(kind) or pt.is_null(kind)
    return pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind) or pt.is_null(kind)


def _expected(name: str) -> str:
    if name == "messages":
        return "a list of {role, content} or of {role, content, origin, weight}"
    if name == EXTRA:
        return "a map from text to numbers, such as MAP {'anchor': -1.2}"
    return "whole numbers" if name in WHOLE else "numbers" if name in NUMBERS else "text"


def _source(ctx: Context, sql: StepSql) -> str | None:
    """What answers are looked up in: rollouts, and second generations where the SQL reads those; None where it reads neither."""
    if not answers(sql):
        return None
    columns = "generation_id, prompt_id, response, actor"
    rollouts = f"select {columns}, messages from generations"
    if not any(name.startswith("followup.") for name in sql.tables):
        return f"({rollouts})"
    # a second generation saw messages of its own; what it trains is an answer to the prompt
    return f"({rollouts} union all select {columns}, null as messages from followup.generations)"


def _query(file: SqlFile, kinds: dict[str, pa.DataType], source: str | None) -> str:
    """The SQL with messages filled in. It names columns one by one: a star would join every scorer into `scored`."""
    own = ", ".join(f'"{name}"::MAP(VARCHAR, DOUBLE) AS "{name}"' if name == EXTRA else f'"{name}"' for name in kinds)
    given = 'picked."messages"' if "messages" in kinds else "null"
    if "messages" in kinds and kinds["messages"].value_type.num_fields == 2:
        message = MESSAGE.format(origin="if(m.role = 'assistant', 'given', 'prompt')", weight="if(m.role = 'assistant', 1, 0)::DOUBLE")
        given = f"list_transform({given}, lambda m: {message})"
    elif "messages" in kinds:
        given = f"list_transform({given}, lambda m: {MESSAGE.format(origin='m.origin', weight='m.weight::DOUBLE')})"
    picked = f"with picked as materialized (select {own}, row_number() over () as row_ from (\n{file.query()}\n))"
    listed = ", ".join(f'picked."{name}"' for name in kinds if name != "messages")
    if source is None or "generation_id" not in kinds:
        return f"{picked} select {listed}, row_, {given} as messages, null::VARCHAR as found_, null::VARCHAR as of_ from picked"
    context = f"list_transform(coalesce(g.messages, p.messages), lambda m: {MESSAGE.format(origin=repr('prompt'), weight='0.0::DOUBLE')})"
    answer = "{'role': 'assistant', 'content': g.response, 'origin': g.actor, 'weight': 1.0::DOUBLE}"
    # list_append(null, x) is [x]: without its prompt an answer must stay null and be reported
    known = "g.generation_id is not null and coalesce(g.messages, p.messages) is not null"
    filled = f"case when {known} then list_append({context}, {answer}) end"
    return (
        f"{picked} select {listed}, row_, coalesce({given}, {filled}) as messages, g.generation_id as found_, g.prompt_id as of_ "
        f"from picked left join {source} g on g.generation_id = picked.generation_id left join prompts p on p.prompt_id = g.prompt_id"
    )


def _check_rows(file: SqlFile, rows: pa.Table, round_: int) -> None:
    def fail(mask: pa.ChunkedArray, column: str, message: str, hint: str) -> None:
        wrong = rows.filter(mask)
        if wrong.num_rows:
            row = wrong.sort_by("row_").slice(0, 1).drop_columns(["messages"]).to_pylist()[0]
            text = message.format(value=row.get(column), prompt=row["of_"])
            where = f"{file.path}: column {column}, row {row['row_']}"
            raise QueryError(f"{text} ({wrong.num_rows:,} such rows)", where=where, hint=hint)

    none = pa.chunked_array([pa.nulls(rows.num_rows, pa.string())])
    wanted = rows["generation_id"].cast(pa.string()) if "generation_id" in rows.column_names else none
    unknown = pc.and_(pc.is_valid(wanted), pc.is_null(rows["found_"]))
    given = pc.is_valid(rows["messages"])
    # an answer of an earlier round may come along if the SQL brings its messages and says so
    earlier = pc.fill_null(pc.less(rows["source_round"], round_), False) if "source_round" in rows.column_names else pc.is_null(given)
    fail(pc.is_null(rows["prompt_id"]), "prompt_id", "null where a prompt's id is needed", "every row names its prompt")
    fail(
        pc.and_(pc.is_null(wanted), pc.invert(given)),
        "generation_id",
        "null where an answer's id is needed",
        "leave such rows out, or give messages",
    )
    fail(
        pc.and_(unknown, pc.invert(pc.and_(earlier, given))),
        "generation_id",
        "{value!r} is no rollout of this round",
        "take generation_id from generations or scored",
    )
    fail(
        pc.and_(pc.is_valid(rows["found_"]), pc.fill_null(pc.not_equal(rows["prompt_id"], rows["of_"]), False)),
        "prompt_id",
        "{value!r}, but the answer belongs to prompt {prompt!r}",
        "take both columns from the same row",
    )
    fail(
        pc.invert(given),
        "generation_id",
        "the prompt {prompt!r} of answer {value!r} is not among this round's prompts",
        "look at the table prompts of this round",
    )
    if "weight" in rows.column_names:
        weight = rows["weight"].cast(pa.float64())
        usable = pc.and_(pc.is_finite(weight), pc.greater_equal(weight, 0.0))
        fail(pc.fill_null(pc.invert(usable), True), "weight", "{value!r} is no weight", "a number from 0 up")


def _finish(file: SqlFile, rows: pa.Table, round_: int) -> pa.Table:
    """Defaults, row ids, declared types; fails on a row that stands twice."""
    count = rows.num_rows
    for name, value in {"weight": 1.0, "origin": "generation", "source_round": round_}.items():
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.array([value] * count, COLUMNS.field(name).type))
        elif name != "weight":
            column = rows[name].cast(COLUMNS.field(name).type)
            rows = rows.set_column(rows.column_names.index(name), name, pc.fill_null(column, value))
    made = _row_ids(rows)
    if "row_id" in rows.column_names:
        made = pc.coalesce(rows["row_id"].cast(pa.string()), made)
        rows = rows.drop_columns(["row_id"])
    rows = rows.append_column("row_id", made)
    _check_once(file, rows)
    keys = [(name, "ascending") for name in ("prompt_id", "rank", "row_id") if name in rows.column_names]
    rows = rows.set_column(rows.column_names.index("messages"), "messages", rows["messages"].cast(MESSAGES))
    try:
        return check("selected", rows.sort_by(keys).drop_columns(["row_", "found_", "of_"]))
    except SchemaError as error:
        raise QueryError(error.message, where=str(file.path), hint="cast it in the SQL") from error


def _check_once(file: SqlFile, rows: pa.Table) -> None:
    counts = rows.group_by("row_id").aggregate([("row_", "count"), ("row_", "max")])
    twice = counts.filter(pc.greater(counts["row__count"], 1)).sort_by("row__max")
    if twice.num_rows:
        row = rows.filter(pc.equal(rows["row_"], twice["row__max"][0])).to_pylist()[0]
        times = twice["row__count"][0].as_py()
        text = f"the row of prompt {row['prompt_id']!r}, answer {row.get('generation_id')!r} stands {times} times"
        raise QueryError(
            f"{text} ({twice.num_rows:,} such rows)",
            where=f"{file.path}: column row_id, row {row['row_']}",
            hint="select each answer once; `weight` says how much it counts",
        )


def _row_ids(rows: pa.Table) -> pa.Array:
    """Ids over prompt, answer (or messages where there is none), origin and source round."""
    prompts, origins, rounds = (rows[c].to_pylist() for c in ("prompt_id", "origin", "source_round"))
    answers = rows["generation_id"].to_pylist() if "generation_id" in rows.column_names else [None] * rows.num_rows
    texts = rows["messages"].to_pylist() if None in answers else answers
    parts = zip(prompts, answers, texts, origins, rounds, strict=True)
    made = (digest(prompt, text if answer is None else answer, *rest) for prompt, answer, text, *rest in parts)
    return pa.array(made, pa.string())
