"""The step of a picker: candidates by SQL in, a number for each candidate out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from engine import tables
from engine.errors import QueryError, StepError
from engine.ids import digest
from engine.randomness import row_keys
from engine.select.pickers import split
from engine.spec import Picker as Entry
from engine.spec import Spec
from engine.step import Context, Output, Ref, Step
from engine.stepsql import StepSql


def _is(kind: str, found: pa.DataType) -> bool:
    text = pt.is_string(found) or pt.is_large_string(found) or pt.is_string_view(found)
    if kind == "text":
        return text
    if kind == "number":
        return pt.is_integer(found) or pt.is_floating(found) or pt.is_decimal(found) or pt.is_boolean(found)
    inside = found.value_type if pt.is_list(found) or pt.is_fixed_size_list(found) else None
    return inside is not None and (_is("text", inside) if kind == "texts" else pt.is_floating(inside))


class PickStep(Step):
    """One entry of `select.pickers`; it sees the pickers before it as columns of `scored`."""

    table = "scores"

    def __init__(self, entry: Entry, before: tuple[str, ...], spec_path: Path | None) -> None:
        self.entry, self.before, self.spec_path = entry, before, spec_path
        self.name, self.part = f"pick_{entry.column}", f"rollout/{entry.column}"
        self.picker, self._given = split(entry)

    @property
    def _sql(self) -> StepSql:
        return StepSql.load(self.entry.sql, self._given, self.name, self.spec_path)

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return self._sql.refs(spec, self.before)

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        own = {"method": self.entry.method, "revision": self.picker.revision, "settings": self.picker.settings(spec_path)}
        return own | self._sql.settings(spec, round_) | {"seed": spec.seed, "round": round_}

    def check(self, spec: Spec, spec_path: Path) -> None:
        """QueryError where the candidates lack a column that the picker needs, or have it with another kind; SpecError of its own."""
        self.picker.check(spec_path)
        _fits(self._sql.schema(spec, spec_path), self.picker.needs, str(self._sql.file.path), self.entry.method)

    def run(self, ctx: Context) -> Output:
        """A row of `scores` for each candidate. StepError where candidates are lost, invented or stand twice."""
        sql = self._sql
        try:
            rows = ctx.sql(sql.file.query(), sql.bound(ctx.spec, ctx.round))
        except QueryError as error:
            raise QueryError(error.message, where=str(sql.file.path), hint=error.hint) from error
        _fits(rows.schema, self.picker.needs, str(sql.file.path), self.entry.method)
        for column in ("item_id", "prompt_id", *self.picker.needs):
            if rows[column].null_count:
                raise StepError(
                    f"{self.name}: column {column} of the candidates is null in {rows[column].null_count} rows", where=str(sql.file.path)
                )
        if pc.count_distinct(rows["item_id"]).as_py() != rows.num_rows:
            raise StepError(f"{self.name}: a candidate stands twice", where=str(sql.file.path), hint="one row for each item_id")
        if not rows.num_rows:
            raise StepError(
                f"{self.name}: the SQL gives no candidates", where=str(sql.file.path), hint="`rondo sql` on `scored` shows the answers"
            )
        rows = rows.sort_by("item_id")
        self.picker.spec_path = ctx.spec_path
        made = self.picker.pick(rows, row_keys(ctx.spec.seed, ctx.round, self.name, rows["item_id"].to_pylist()))
        found = self._scores(rows, made, ctx)
        picked = found.num_rows - found["value"].null_count
        return Output({("scores", self.part): found}, rows.num_rows, {"picked": picked, "candidates": rows.num_rows})

    def _scores(self, rows: pa.Table, made: pa.Table, ctx: Context) -> pa.Table:
        place = pc.index_in(rows["item_id"].cast(pa.string()), value_set=made["item_id"].combine_chunks().cast(pa.string()))
        if made.num_rows != rows.num_rows or place.null_count:
            raise StepError(f"{self.name}: {rows.num_rows} candidates in, {made.num_rows} numbers out, {place.null_count} without one")
        made, n = made.take(place), rows.num_rows
        kinds = rows["item_kind"] if "item_kind" in rows.column_names else pa.repeat("generation", n)
        version = digest(self.settings(ctx.spec, ctx.round, ctx.spec_path))
        columns: dict[str, Any] = {
            "item_id": rows["item_id"],
            "item_kind": kinds,
            "prompt_id": rows["prompt_id"],
            "scorer": pa.repeat(self.entry.column, n),
            "scorer_version": pa.repeat(version, n),
            "value": made["value"],
        }
        columns |= {name: made[name] for name in ("detail",) if name in made.column_names}
        return tables.check("scores", pa.table(columns))


def _fits(schema: pa.Schema, needs: dict[str, str], where: str, method: str) -> None:
    for name, kind in {"item_id": "text", "prompt_id": "text", **needs}.items():
        if name not in schema.names:
            text = f"the candidates of {method} need a column {name!r} ({kind}), found {schema.names}"
            raise QueryError(text, where=where, hint="add it to the SELECT")
        if not _is(kind, schema.field(name).type):
            raise QueryError(f"column {name!r}: expected {kind}, found {schema.field(name).type}", where=where, hint="cast it in the SQL")


def steps(spec: Spec, spec_path: Path | None) -> list[Step]:
    """A step for each picker, in order."""
    names = [picker.column for picker in spec.select.pickers]
    return [PickStep(entry, tuple(names[:place]), spec_path) for place, entry in enumerate(spec.select.pickers)]
