"""Second generations: SQL writes new messages about the round's answers, and a model answers them.

An entry of `followup` names SQL that gives prompt_id, parent_id (the generation that the messages are about; may be null)
and messages (a list of {role, content}). Each row is answered `samples` times; the answers are rows of `generations` in the
part followup/<name>, with those messages, parent_id and depth 1. Where the last message is the assistant's, it is the beginning of the
answer (`engine.generate.begun`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from engine.errors import QueryError, StepError
from engine.generate import begun
from engine.generate.answering import Answering, own_model
from engine.generate.cast import Setup
from engine.ids import digest
from engine.spec import Followup, Spec
from engine.step import Context, Output, Ref
from engine.stepsql import StepSql
from engine.tables import CHAT, TABLES

COLUMNS = ("prompt_id", "parent_id", "messages")
ROLES = ("system", "user", "assistant", "tool")
ANSWERS = ("generations", "scored", "calibrate.generations", "calibrate.scored", "history.generations", "history.scored")


class FollowupGenerations(Answering):
    """One entry of `followup`."""

    def __init__(self, entry: Followup, spec: Spec, spec_path: Path | None) -> None:
        self.entry, self.spec_path = entry, spec_path
        self.name, self.part = f"{entry.name}_generations", f"followup/{entry.name}"
        super().__init__(spec)

    def setups(self, spec: Spec) -> list[Setup]:
        """The entry's sampler; the backend of `generate`, or `transformers` where that has no model."""
        backend, own = own_model(spec)
        return [Setup(backend, own, "generate.params", self.entry, self.entry.samples, spec.generate.batch, self.entry.model)]

    @property
    def _sql(self) -> StepSql:
        sql = StepSql.load(self.entry.sql, self.entry.params, self.name, self.spec_path)
        if any(name.startswith("followup.") for name in sql.tables):
            text = "a follow-up cannot read follow-ups of its own round"
            raise QueryError(text, where=str(sql.file.path), hint="read scored, prompts, clusters, plan or history")
        return sql

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """The model, the round's prompts, and what the SQL reads."""
        return list(dict.fromkeys([*self.model_refs(spec), Ref("prompts", "train"), *self._sql.refs(spec)]))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return super().settings(spec, round_, spec_path) | {"followup": self._sql.settings(spec, round_), "model": self.entry.model}

    def check(self, spec: Spec, spec_path: Path) -> None:
        """QueryError where the SQL cannot run or its columns are not prompt_id, messages and perhaps parent_id."""
        sql = self._sql
        _fits(sql.schema(spec, spec_path), str(sql.file.path))

    def run(self, ctx: Context) -> Output:
        """A row for each answer; none where the SQL gives no rows. StepError for a row that cannot be asked."""
        rows = self._rows(ctx)
        if not rows.num_rows:
            ctx.progress.note(f"{self.name}: the SQL gives no rows, nothing is asked")
            return Output({("generations", self.part): TABLES["generations"].columns.empty_table()}, 0, {"asked": 0})
        # to the backend every row is a prompt of its own: its id enters the answers' ids and starts their draws
        asks = pa.table({"prompt_id": rows["ask"], "messages": rows["messages"]})
        (how,) = self.setups(ctx.spec)
        with self.backend(ctx, how) as backend:
            made = self.answer(ctx, how, backend, backend.prepare(asks))
            self.note(ctx, backend)
        return Output({("generations", self.part): _filed(made, rows)}, rows.num_rows, {"asked": rows.num_rows, **backend.detail})

    def _rows(self, ctx: Context) -> pa.Table:
        """prompt_id, parent_id, messages and the id of each row of the SQL, in order of that id."""
        sql = self._sql
        where, params = str(sql.file.path), sql.bound(ctx.spec, ctx.round)
        try:
            rows = ctx.sql(sql.file.query(), params)
        except QueryError as error:
            raise QueryError(error.message, where=where, hint=error.hint) from error
        _fits(rows.schema, where)
        parents = rows["parent_id"].cast(pa.string()) if "parent_id" in rows.column_names else pa.nulls(rows.num_rows, pa.string())
        given = {"prompt_id": rows["prompt_id"].cast(pa.string()), "parent_id": parents, "messages": rows["messages"]}
        ids, chats = [], []
        for number, row in enumerate(pa.table(given).to_pylist()):
            _asks(row, f"{self.name}: row {number}", where)
            chats.append([{"role": m["role"], "content": m["content"]} for m in row["messages"]])
            ids.append(f"{row['prompt_id']}/{digest(row['prompt_id'], row['parent_id'], chats[-1])}")
        if len(set(ids)) < len(ids):
            text = f"{self.name}: {len(ids) - len(set(ids))} of {len(ids)} rows stand twice (same prompt, parent and messages)"
            raise StepError(text, where=where, hint="give each row once; `samples` asks it several times")
        rows = pa.table(given | {"messages": pa.array(chats, CHAT), "ask": pa.array(ids, pa.string())}).sort_by("ask")
        self._known(ctx, rows, sql)
        return rows

    def _known(self, ctx: Context, rows: pa.Table, sql: StepSql) -> None:
        """StepError where a prompt is not of the round, or a parent is no answer of the tables that the SQL reads."""
        where = str(sql.file.path)
        prompts = ctx.read(Ref("prompts", "train"), ["prompt_id"])["prompt_id"].combine_chunks()
        lost = rows.filter(pc.invert(pc.is_in(rows["prompt_id"], value_set=prompts)))
        if lost.num_rows:
            text = f"{self.name}: prompt {lost['prompt_id'][0].as_py()!r} is not among the round's prompts ({lost.num_rows} such rows)"
            raise StepError(text, where=where, hint="take prompt_id from prompts or from this round's answers")
        named = rows.filter(pc.is_valid(rows["parent_id"]))
        if not named.num_rows:
            return
        tables = sorted(sql.tables & set(ANSWERS))
        query = " union all ".join(f"select generation_id from {name.replace('scored', 'generations')}" for name in tables)
        known = ctx.sql(query, {})["generation_id"].combine_chunks().cast(pa.string()) if query else pa.array([], pa.string())
        lost = named.filter(pc.invert(pc.is_in(named["parent_id"], value_set=known)))
        if lost.num_rows:
            text = f"{self.name}: parent {lost['parent_id'][0].as_py()!r} is no answer that the SQL reads ({lost.num_rows} such rows)"
            raise StepError(text, where=where, hint="take parent_id from the generation_id of an answer")


def _filed(made: pa.Table, rows: pa.Table) -> pa.Table:
    """Answers with the prompt, parent and messages of the row that they answer, in order of the rows, then of the samples."""
    place = pc.index_in(made["prompt_id"], value_set=rows["ask"].combine_chunks())
    order = pc.sort_indices(pa.table({"place": place, "sample": made["sample"]}), [("place", "ascending"), ("sample", "ascending")])
    made, of = made.take(order), rows.take(place.take(order))
    columns = {
        "prompt_id": of["prompt_id"],
        "parent_id": of["parent_id"],
        "messages": of["messages"],
        "depth": pa.array([1] * made.num_rows, pa.int64()),
    }
    for name, values in columns.items():
        made = made.set_column(made.column_names.index(name), name, values)
    return begun.whole(made)


def _fits(schema: pa.Schema, where: str) -> None:
    names = set(schema.names)
    if names - set(COLUMNS) or not {"prompt_id", "messages"} <= names:
        text = f"expected prompt_id, messages and perhaps parent_id, found {schema.names}"
        raise QueryError(text, where=where, hint="name the columns in the SELECT")
    kind = schema.field("messages").type
    fields = {field.name for field in kind.value_type} if pt.is_list(kind) and pt.is_struct(kind.value_type) else set()
    if fields != {"role", "content"}:
        text = f"column messages: expected a list of {{role, content}}, found {kind}"
        raise QueryError(text, where=where, hint="write [{'role': 'user', 'content': ...}], or list_append(messages, {...})")


def _asks(row: dict[str, Any], what: str, where: str) -> None:
    """StepError for a row without a prompt, or with messages that no model can be asked."""
    if row["prompt_id"] is None:
        raise StepError(f"{what}: prompt_id is null", where=where, hint="every row names its prompt")
    if not row["messages"]:
        raise StepError(f"{what}: prompt {row['prompt_id']} has no messages", where=where, hint="leave such rows out")
    for message in row["messages"]:
        if message is None or message["role"] not in ROLES or message["content"] is None:
            text = f"{what}: prompt {row['prompt_id']}: expected a role of {', '.join(ROLES)} and content, found {message}"
            raise StepError(text, where=where, hint="a null in a concatenation makes the whole text null")


def steps(spec: Spec, spec_path: Path | None) -> list[FollowupGenerations]:
    """One step an entry."""
    return [FollowupGenerations(entry, spec, spec_path) for entry in spec.followup]
