"""The pairs room: one SQL file a role says which answers train against each other. It fills the table `pairs`.

The file gives prompt_id and for each side either the id of an answer (chosen_id, rejected_id, perhaps third_id; the engine fills the
messages) or messages of its own (chosen, rejected, third: lists of {role, content} or of {role, content, origin, weight}). It may
also give messages (the shared prefix; else what the chosen answer was asked), margin, probability, weight, origin, source_round,
reason, row_id and extra (a map of further numbers). It sees this round's rollouts (never those of evaluation) under bare names,
second generations under `followup` and earlier rounds under `history`.
"""

from __future__ import annotations

from pathlib import Path

from engine.errors import SpecError
from engine.registry import nearest
from engine.spec import Pairs, Spec, Train
from engine.step import POLICY
from engine.stepsql import ANSWERS, StepSql, measure_columns, scorer_columns
from engine.views import SQL

STEP = "pairs"
SIDES = ("chosen", "rejected", "third")


def of(spec: Spec, role: str) -> Pairs:
    """What pairs the answers of a role: its own `pairs`, else the spec's."""
    own = next((train.pairs for train in spec.train if train.role == role and train.pairs), None)
    return own or spec.pairs


def load(spec: Spec, spec_path: Path | None, role: str = POLICY) -> StepSql:
    """The round's pairing for a role, its tables and functions checked. SpecError without one, QueryError otherwise."""
    how = of(spec, role)
    if not how.sql:
        raise SpecError(f"pairs.sql: the role {role} trains on pairs, and no SQL makes them", hint="e.g. pairs/best_worst.sql")
    return StepSql.load(how.sql, how.params, STEP, spec_path)


def roles(spec: Spec) -> list[Train]:
    """The entries of `train` whose objective reads `pairs`."""
    from engine.train import objectives

    return [train for train in spec.train if objectives.load(train.objective).reads == "pairs"]


def answers(sql: StepSql) -> bool:
    """Whether the SQL pairs this round's answers, so that messages can be filled from them."""
    return bool(sql.tables & {*ANSWERS, *(f"followup.{name}" for name in ANSWERS)}) or "preferences" in sql.tables


def check(spec: Spec, spec_path: Path) -> None:
    """The SQL of every role is tried on tables without rows. QueryError where columns or types do not fit."""
    from engine.pairs.fill import fits

    for train in roles(spec):
        sql = load(spec, spec_path, train.role)
        fits(sql.schema(spec, spec_path), sql.file)
        _known(spec, sql)


def _known(spec: Spec, sql: StepSql) -> None:
    """SpecError where a parameter of a shipped file names a scorer, a judge or a followup that the spec does not have: it would find
    no rows, which looks like answers that are all equally good."""
    if not sql.file.path.is_relative_to(SQL):
        return
    scorers = [*(["score"] if spec.score else ()), *scorer_columns(spec), *measure_columns(spec), *(p.column for p in spec.select.pickers)]
    judges, followups = [one.column for one in spec.compare], [one.name for one in spec.followup]
    named = {"scorer": scorers, "consistency": scorers, "judge": judges, "followup": followups}
    for name, value in sql.bound(spec, 0).items():
        if name in named and value not in named[name]:
            text = f"pairs.params.{name}: the spec has no {name} {value!r}"
            raise SpecError(text, where=str(sql.file.path), hint=nearest(str(value), named[name]) if named[name] else "it has none at all")
