"""The select room: one SQL file says which answers train. It fills the table `selected`.

The file gives prompt_id and generation_id (the engine fills the messages), or prompt_id and messages of its own; it may
also give weight, label, cluster_id, rank, "order", origin, source_round, reason and row_id. It sees this round's rollouts
(never those of evaluation) under bare names, its second generations under `followup` and earlier rounds under `history`.
What SQL cannot say, pickers say before it: `engine.select.pickers`.
"""

from __future__ import annotations

from pathlib import Path

from engine.errors import QueryError, SpecError
from engine.spec import Select, Spec, Train
from engine.step import POLICY
from engine.stepsql import ANSWERS, StepSql

STEP = "selected"


def of(spec: Spec, role: str) -> Select:
    """What selects the demonstrations of a role: its own `select`, else the spec's. Pickers are the spec's alone."""
    own = next((train.select for train in spec.train if train.role == role and train.select), None)
    return own or spec.select


def load(spec: Spec, spec_path: Path | None, role: str = POLICY) -> StepSql:
    """The round's selection for a role, its tables and functions checked. SpecError without one, QueryError otherwise."""
    how = of(spec, role)
    if not how.sql:
        raise SpecError(f"select.sql: the role {role} trains on demonstrations, and no SQL selects them", hint="e.g. select/raft.sql")
    return StepSql.load(how.sql, how.params, STEP, spec_path)


def roles(spec: Spec) -> list[Train]:
    """The entries of `train` whose objective reads `selected`."""
    from engine.train import objectives

    return [train for train in spec.train if objectives.load(train.objective).reads == "selected"]


def answers(sql: StepSql) -> bool:
    """Whether the SQL chooses among this round's answers, so that messages can be filled from them."""
    return bool(sql.tables & {*ANSWERS, *(f"followup.{name}" for name in ANSWERS)})


def check(spec: Spec, spec_path: Path) -> None:
    """The SQL of selection and pickers is tried on tables without rows. QueryError where columns or types do not fit."""
    from engine.select.fill import fits
    from engine.select.picked import PickStep, steps

    for step in steps(spec, spec_path):
        assert isinstance(step, PickStep)
        step.check(spec, spec_path)
    for train in roles(spec):
        sql = load(spec, spec_path, train.role)
        kinds = fits(sql.schema(spec, spec_path), sql.file, answers(sql))
        if train.order == "selected" and "order" not in kinds:
            text = f'train.order of {train.role} is selected, and the SQL gives no column "order"'
            raise QueryError(text, where=str(sql.file.path), hint='add a number AS "order" to the SELECT, or set train.order: random')
        if train.order == "selected" and train.data == "cumulative" and spec.base:
            text = f"train.order of {train.role} is selected, and data: cumulative brings the base's worked examples, which have no order"
            raise SpecError(text, hint="set train.data: round, or train.order: random")
        if train.select and train.select.pickers:
            raise SpecError(f"train ({train.role}): select.pickers: pickers belong to the spec's own `select`")
