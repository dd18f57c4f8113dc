"""The steps of the select room: one for each picker, and `selected`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.errors import QueryError, StepError
from engine.select import STEP, answers, carried, load, of, picked, referred, roles
from engine.select.fill import select
from engine.spec import Spec, Train
from engine.step import POLICY, Context, Output, Ref, Step
from engine.stepsql import StepSql
from engine.train import references

COUNTS = "select count(1) as n, count(score) as scored, count(1) filter (where score >= $bar) as good, max(score) as best from scored"
VERDICTS = "select coalesce(verdict, 'none') as verdict, count(1) as n from scored group by 1 order by n desc, verdict"


class SelectedStep(Step):
    """Runs the selection of a role; `data: cumulative` or last-N add the fresh rows of earlier rounds."""

    table = "selected"

    def __init__(self, role: str, spec_path: Path | None = None, on_device: bool = False) -> None:
        self.part, self.spec_path, self.on_device = role, spec_path, on_device
        self.name = STEP if role == POLICY else f"{STEP}_{role}"

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """What the SQL reads, what its messages are filled from, and the history of `selected` where rows accumulate."""
        sql = load(spec, self.spec_path, self.part)
        found = sql.refs(spec, [picker.column for picker in spec.select.pickers])
        if answers(sql):
            found += [Ref("generations", "rollout"), Ref("prompts", "train")]
        train = self._train(spec)
        found += carried.reads("selected", self.part, train)
        return list(dict.fromkeys(found + references.refs(referred.weights(train), self.part)))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """SQL without comments, bound parameters, and the round: it stands in source_round and in every row id. Where the objective
        takes values of a reference from the rows, also what those depend on."""
        train = self._train(spec)
        own = {**load(spec, spec_path, self.part).settings(spec, round_), **carried.settings(train, spec), "round": round_}
        return own | referred.settings(spec, train)

    def run(self, ctx: Context) -> Output:
        """Fresh rows in order of prompt and rank, then those carried over. StepError where the SQL chooses nothing."""
        sql = load(ctx.spec, ctx.spec_path, self.part)
        rows = select(ctx, sql)
        if not rows.num_rows:
            raise StepError(_why_empty(ctx, sql), where=str(sql.file.path), hint="`rondo sql` on `scored` shows the answers")
        train = self._train(ctx.spec)
        older = carried.rows(ctx, "selected", self.part, train, rows)
        found = ctx.sql(f"select count(1) as n from {_source(sql)}", {})["n"][0].as_py()
        whole = referred.referred(ctx, train, pa.concat_tables([rows, older]) if older else rows)
        detail = {"sql": of(ctx.spec, self.part).sql, "fresh": rows.num_rows, "carried": whole.num_rows - rows.num_rows}
        return Output({("selected", self.part): whole}, found, detail)

    def _train(self, spec: Spec) -> Train:
        return next(train for train in spec.train if train.role == self.part)


def _source(sql: StepSql) -> str:
    """The table whose rows the selection chose from."""
    return "generations" if answers(sql) else sorted(sql.tables)[0]


def _why_empty(ctx: Context, sql: StepSql) -> str:
    """What there was to choose from."""
    tables, params = sql.tables, sql.bound(ctx.spec, ctx.round)
    if not answers(sql):
        counts = [f"{name} has {ctx.sql(f'select count(1) as n from {name}', {})['n'][0].as_py():,} rows" for name in sorted(tables)]
        return f"the selection chose nothing: {', '.join(counts)}"
    bar = float(params.get("min_score", 1.0))
    try:
        row = ctx.sql(COUNTS, {"bar": bar}).to_pylist()[0]
        verdicts = ctx.sql(VERDICTS, {}).to_pylist()
    except QueryError as error:
        raise StepError(
            f"the selection chose nothing, and its answers cannot be counted: {error.message}", where=str(sql.file.path)
        ) from error
    if not row["n"]:
        return "the selection chose nothing: the round has no answers"
    if not row["scored"]:
        return f"the selection chose nothing: none of {row['n']:,} answers has a score"
    told = ", ".join(f"{v['verdict']} {v['n']:,}" for v in verdicts)
    return (
        f"the selection chose nothing: {row['good']:,} of {row['n']:,} answers ({row['scored']:,} scored) have score >= {bar:g}; "
        f"best score {row['best']:g}; verdicts: {told}"
    )


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """The steps of this room. Without `spec_path`, what the SQL reads is looked up among the shipped files only."""
    return [*picked.steps(spec, spec_path), *(SelectedStep(train.role, spec_path, bool(referred.weights(train))) for train in roles(spec))]
