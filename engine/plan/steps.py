"""The steps of the plan room: one for each entry of `plan`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import tables
from engine.errors import QueryError, StepError
from engine.ids import canonical
from engine.plan import Planner, make
from engine.spec import Plan, Spec
from engine.step import Context, Output, Ref, Step
from engine.stepsql import NOW, StepSql

COLUMNS = ("key", "item_id", "value", "reason")


class PlanStep(Step):
    """One entry: runs its SQL or its method and writes the part of its name."""

    table = "plan"

    def __init__(self, entry: Plan, spec_path: Path | None) -> None:
        self.entry, self.spec_path = entry, spec_path
        self.name, self.part = f"plan_{entry.name}", entry.name

    @property
    def _sql(self) -> StepSql:
        return StepSql.load(self.entry.sql or "", self.entry.params, self.name, self.spec_path, NOW - {"plan"})

    @cached_property
    def _method(self) -> Planner:
        return make(self.entry)

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return self._sql.refs(spec) if self.entry.sql else self._method.reads(spec, round_)

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        if self.entry.sql:
            return self._sql.settings(spec, round_)
        own = self._method.params.model_dump(mode="json")
        return {"method": self.entry.method, "revision": self._method.revision, "params": own} | self._method.settings(
            spec, round_, spec_path
        )

    def check(self, spec: Spec, spec_path: Path) -> None:
        """QueryError where the SQL's columns are not those of `plan`; SpecError for a method's settings."""
        if not self.entry.sql:
            self._method  # noqa: B018 - raises for settings that it cannot use
            return
        found = self._sql.schema(spec, spec_path).names
        if set(found) - set(COLUMNS) or not {"key", "value"} <= set(found):
            text = f"expected key, value and perhaps item_id and reason, found {found}"
            raise QueryError(text, where=str(self._sql.file.path), hint="name the columns in the SELECT")

    def run(self, ctx: Context) -> Output:
        """Rows in order of key and item. StepError for a value that is null or a setting that stands twice."""
        rows = self._rows(ctx)
        seen: set[tuple[str, str | None]] = set()
        for row in rows:
            mark = (row["key"], row["item_id"])
            if row["key"] is None or row["value"] in (None, "null"):
                raise StepError(f"{self.name}: a setting without key or value: {row}", hint="give every row of the plan both")
            if mark in seen:
                raise StepError(f"{self.name}: {mark[0]!r} of {mark[1]!r} stands twice", hint="one row a key and item")
            seen.add(mark)
        rows.sort(key=lambda row: (row["key"], row["item_id"] or ""))
        found = tables.check("plan", pa.Table.from_pylist(rows, schema=tables.TABLES["plan"].columns))
        keys = {key: sum(row["key"] == key for row in rows) for key in sorted({row["key"] for row in rows})}
        return Output({("plan", self.part): found}, len(rows), {"settings": keys})

    def _rows(self, ctx: Context) -> list[dict[str, Any]]:
        if not self.entry.sql:
            made = self._method.plan(ctx)
            return [{"item_id": None, "reason": None, **row, "value": canonical(row["value"])} for row in made]
        sql, params = self._sql, self._sql.bound(ctx.spec, ctx.round)
        names = sql.probe(ctx.sql, params).names
        columns = ["key::VARCHAR as key", "to_json(value)::VARCHAR as value"]
        columns += [f"{name}::VARCHAR as {name}" if name in names else f"null::VARCHAR as {name}" for name in ("item_id", "reason")]
        try:
            return ctx.sql(f"select {', '.join(columns)} from (\n{sql.file.query()}\n)", params).to_pylist()
        except QueryError as error:
            raise QueryError(error.message, where=str(sql.file.path), hint=error.hint) from error


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """One step an entry."""
    return [PlanStep(entry, spec_path) for entry in spec.plan]


def check(spec: Spec, spec_path: Path) -> None:
    """QueryError or SpecError for an entry of `plan` that cannot work, before anything runs."""
    for entry in spec.plan:
        PlanStep(entry, spec_path).check(spec, spec_path)
