"""The step of a measure that SQL can say: a number for every rollout from the tables of the round and of earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine import tables
from engine.errors import QueryError, StepError
from engine.ids import digest
from engine.score.measures import columns_of
from engine.spec import Measure as Entry
from engine.spec import Spec
from engine.step import Context, Output, Ref, Step
from engine.stepsql import StepSql

ROLLOUTS = Ref("generations", "rollout")


class MeasuredBySql(Step):
    """One entry of `measure` with `sql`; it sees the entries before it as columns of `scored`."""

    table = "scores"

    def __init__(self, entry: Entry, before: Sequence[Entry], spec_path: Path | None) -> None:
        self.entry, self.spec_path = entry, spec_path
        self.before = tuple(column for one in before for column in columns_of(one))
        self.name, self.part = f"scores_{entry.column}", f"rollout/{entry.column}"

    @property
    def _sql(self) -> StepSql:
        assert self.entry.sql is not None
        return StepSql.load(self.entry.sql, self.entry.params, self.name, self.spec_path)

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return list(dict.fromkeys([ROLLOUTS, *self._sql.refs(spec, self.before, measured=False)]))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return {"scorer": self.entry.column} | self._sql.settings(spec, round_)

    def check(self, spec: Spec, spec_path: Path) -> None:
        """QueryError where the SQL cannot run or its result lacks item_id or value."""
        _fits(self._sql.schema(spec, spec_path), str(self._sql.file.path))

    def run(self, ctx: Context) -> Output:
        """StepError where a rollout has no row, or two, or a value that is not finite."""
        sql = self._sql
        where = str(sql.file.path)
        try:
            made = ctx.sql(sql.file.query(), sql.bound(ctx.spec, ctx.round))
        except QueryError as error:
            raise QueryError(error.message, where=where, hint=error.hint) from error
        _fits(made.schema, where)
        rows = ctx.read(ROLLOUTS, ["generation_id", "prompt_id"]).sort_by("generation_id")
        place = pc.index_in(rows["generation_id"], value_set=made["item_id"].cast(pa.string()).combine_chunks())
        if made.num_rows != rows.num_rows or place.null_count:
            raise StepError(
                f"{self.name}: {rows.num_rows} rollouts, {made.num_rows} rows out, {place.null_count} rollouts without one",
                where=where,
                hint="one row for each generation_id, value null where there is no number",
            )
        made, n = made.take(place), rows.num_rows
        values = made["value"].cast(pa.float64())
        if not pc.all(pc.is_finite(values.drop_null())).as_py() and n > values.null_count:
            raise StepError(f"{self.name}: a value is not finite", where=where, hint="guard the division, or give null")
        columns: dict[str, Any] = {
            "item_id": rows["generation_id"],
            "item_kind": pa.repeat("generation", n),
            "prompt_id": rows["prompt_id"],
            "scorer": pa.repeat(self.entry.column, n),
            "scorer_version": pa.repeat(digest(self.settings(ctx.spec, ctx.round, ctx.spec_path)), n),
            "value": values,
        }
        columns |= {"detail": made["detail"].cast(pa.string())} if "detail" in made.column_names else {}
        return Output({("scores", self.part): tables.check("scores", pa.table(columns))}, n)


def _fits(schema: pa.Schema, where: str) -> None:
    missing = [name for name in ("item_id", "value") if name not in schema.names]
    if missing:
        raise QueryError(
            f"a measure needs the columns item_id and value, found {schema.names}", where=where, hint=f"add {' and '.join(missing)}"
        )
    kind = schema.field("value").type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)):
        raise QueryError(f"column value: expected a number, found {kind}", where=where, hint="cast it in the SQL: value::DOUBLE")
