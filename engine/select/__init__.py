"""The select room: one SQL file says which answers train. It fills the table `selected`.

The file gives prompt_id and generation_id (the engine fills the messages), or prompt_id and messages of its own; it may
also give weight, label, cluster_id, rank, "order", origin, source_round, reason and row_id. It sees this round's rollouts
(never those of evaluation) under bare names, its second generations under `followup` and earlier rounds under `history`.
What SQL cannot say, pickers say before it: `engine.select.pickers`.
"""

from __future__ import annotations

from pathlib import Path

from engine.errors import QueryError, SpecError
from engine.spec import Spec
from engine.stepsql import ANSWERS, StepSql

STEP = "selected"


def load(spec: Spec, spec_path: Path | None) -> StepSql:
    """The round's selection, its tables and functions checked. QueryError otherwise."""
    return StepSql.load(spec.select.sql, spec.select.params, STEP, spec_path)


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
    sql = load(spec, spec_path)
    kinds = fits(sql.schema(spec, spec_path), sql.file, answers(sql))
    for train in spec.train:
        if train.order == "selected" and "order" not in kinds:
            text = f'train.order of {train.role} is selected, and the SQL gives no column "order"'
            raise QueryError(text, where=str(sql.file.path), hint='add a number AS "order" to the SELECT, or set train.order: random')
        if train.order == "selected" and train.data == "cumulative" and spec.base:
            text = f"train.order of {train.role} is selected, and data: cumulative brings the base's worked examples, which have no order"
            raise SpecError(text, hint="set train.data: round, or train.order: random")
