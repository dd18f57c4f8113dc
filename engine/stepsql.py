"""SQL that a step runs: which tables it may read, the parts behind them, and the parameters that the engine binds.

Bare names are the round (`generations`, `scores` and `scored` are its rollouts, never those of evaluation), `history` the
earlier rounds, `calibrate` and `followup` the round's answers that are no rollouts, `segment.scores` numbers of answers' parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import sqlfile
from engine.errors import QueryError
from engine.ids import digest
from engine.registry import nearest
from engine.spec import Measure, Scorer, Spec
from engine.sqlfile import SqlFile
from engine.step import Ref
from engine.tables import TABLES
from engine.views import nodes_of, tables_of, tree_of, view_texts

ANSWERS = ("generations", "scores", "scored")
ROOMS = ("prompts", "prompts_dropped", "plan", "preferences", "embeddings", "clusters", "cluster_stats")
NOW = {*ANSWERS, *ROOMS}
PAST = {*(name for name in TABLES if name != "steps"), "scored"}
ASIDE = ("calibrate", "followup")
SEGMENTS = ("segment", "scores")
PAST_PARAM = "past_"  # how the name of a parameter about earlier rounds begins


def tables_read(text: str, where: str = "", now: set[str] = NOW) -> set[str]:
    """Every table that the SQL reads, views resolved: 'scored', 'history.selected', 'calibrate.scored', ...

    `now`: tables of this round that exist before the step. QueryError for a table that does not exist or may not be read.
    """
    found: set[str] = set()
    for schema, name in sorted(tables_of(text)):
        found |= _resolve(schema, name, where, now)
    return found


def _resolve(schema: str, name: str, where: str, now: set[str]) -> set[str]:
    if schema == "lake":
        hint = f"history.{name} has this experiment's earlier rounds"
        raise QueryError(f"lake.{name}: a step never reads other experiments", where=where, hint=hint)
    if schema == SEGMENTS[0]:
        if name != SEGMENTS[1]:
            raise QueryError(f"no table {schema}.{name}", where=where, hint=f"{schema} has {SEGMENTS[1]}")
        return {f"{schema}.{name}"}
    if schema in ASIDE:
        if name not in ANSWERS:
            raise QueryError(f"no table {schema}.{name}", where=where, hint=f"{schema} has {', '.join(ANSWERS)}")
        return {f"{schema}.{name}"}
    if schema not in ("", "bare", "history"):
        raise QueryError(f"no schema {schema!r}", where=where, hint="bare names are this round, `history` the earlier ones")
    views = view_texts()
    if name in views:
        return set().union(*(_resolve(schema, inner, where, now) for _, inner in tables_of(views[name])))
    known = PAST if schema == "history" else now
    if name in known:
        return {f"history.{name}" if schema == "history" else name}
    if name in PAST:
        hint = f"history.{name} has earlier rounds"
        raise QueryError(f"{name} of this round does not exist yet when this SQL runs", where=where, hint=hint)
    if name in TABLES:
        raise QueryError(f"the SQL of a step cannot read {name}", where=where, hint=f"allowed: {', '.join(sorted(known))}")
    raise QueryError(f"no table {name!r}", where=where, hint=nearest(name, sorted({*known, *views})))


def refs(
    tables: set[str], spec: Spec, before: Sequence[str] = (), measured: bool = True, names: Callable[[str], bool] | None = None
) -> list[Ref]:
    """The parts behind table names as `tables_read` gives them.

    `before`: further columns of `scored` that are made before the SQL runs. `measured`: so are those of `measure`. `names`: whether the
    SQL may read a column; where a measure's model is trained in this round, a column that the SQL leaves alone is none of its parts, so
    that the rows which train the model can be chosen before it measures.
    """
    judges = ["score", *scorer_columns(spec)] if spec.score else []
    also = [*(measure_columns(spec) if measured else ()), *before]
    if names is not None and _trains_a_judge(spec):
        also = [column for column in also if names(column)]
    aside = {"calibrate": ["calibrate"], "followup": [f"followup/{one.name}" for one in spec.followup]}
    now = {
        "generations": [Ref("generations", "rollout")],
        "scores": [Ref("scores", f"rollout/{name}") for name in [*judges, *also]],
        "prompts": [Ref("prompts", "train")],
    }
    for schema, parts in aside.items():
        now[f"{schema}.generations"] = [Ref("generations", part) for part in parts]
        now[f"{schema}.scores"] = [Ref("scores", f"{part}/{name}") for part in parts for name in judges]
        now[f"{schema}.scored"] = [*now[f"{schema}.generations"], *now[f"{schema}.scores"]]
    now[".".join(SEGMENTS)] = [Ref("scores", f"segment/{name}") for name in segment_columns(spec)]
    now["scored"] = [*now["generations"], *now["scores"]]
    found: list[Ref] = []
    for name in sorted(tables):
        if name == "history.scored":
            found += [Ref("generations", None, "history"), Ref("scores", None, "history")]
        elif name.startswith("history."):
            found.append(Ref(name.removeprefix("history."), None, "history"))
        else:
            found += now.get(name, [Ref(name)])
    return list(dict.fromkeys(found))


def _by_scorer(node: dict[str, Any]) -> bool:
    """Whether a node of a syntax tree is `scorer = ...` or `scorer IN (...)`."""
    if node.get("type") not in ("COMPARE_EQUAL", "COMPARE_IN"):
        return False
    return any(inner.get("class") == "COLUMN_REF" and inner["column_names"][-1] == "scorer" for inner in nodes_of(node))


def _trains_a_judge(spec: Spec) -> bool:
    from engine.score.roles import late

    return len(spec.train) > 1 and bool(late(spec))


def scorer_columns(spec: Spec) -> list[str]:
    """The columns of `scored` that `score` fills, the combined score left out."""
    from engine import score

    return score.columns(spec)


def measure_columns(spec: Spec) -> list[str]:
    """The columns of `scored` that `measure` fills."""
    from engine.score.measures import columns_of

    return [column for measure in spec.measure for column in columns_of(measure)]


def segment_columns(spec: Spec) -> list[str]:
    """The measures of `score` and `measure` that also number the segments of answers."""
    from engine.score.measures import make

    entries: list[Scorer | Measure] = [scorer for scorer in spec.score if scorer.measure]
    entries += [measure for measure in spec.measure if measure.method]
    return [entry.column for entry in entries if make(entry).by_segment]


def automatic(spec: Spec, round_: int, step: str) -> dict[str, int]:
    """What the engine binds by itself: $round, $rounds, and $seed, 52 bits that differ by seed, round and step."""
    return {"round": round_, "rounds": spec.rounds, "seed": int(digest(spec.seed, round_, step)[:13], 16)}


@dataclass(frozen=True)
class StepSql:
    """One SQL file of a step with the spec's parameters. `now`: tables of this round that it may read."""

    file: SqlFile
    given: Mapping[str, Any]
    step: str
    now: frozenset[str] = frozenset(NOW)

    @classmethod
    def load(cls, sql: str, given: Mapping[str, Any], step: str, spec_path: Path | None, now: set[str] = NOW) -> StepSql:
        """Checked: tables, parameters, nothing that changes from run to run. QueryError otherwise."""
        file = sqlfile.read(sqlfile.find(sql, spec_path))
        made = cls(file, given, step, frozenset(now))
        made.tables  # noqa: B018 - raises for tables that it may not read
        file.require_stable()
        return made

    @property
    def tables(self) -> set[str]:
        """Names as `tables_read` gives them."""
        return tables_read(self.file.text, str(self.file.path), set(self.now))

    def refs(self, spec: Spec, before: Sequence[str] = (), measured: bool = True) -> list[Ref]:
        """The parts that it reads; arguments as those of `refs`."""
        return refs(self.tables, spec, before, measured, self.names)

    def names(self, column: str) -> bool:
        """Whether it may read what a scorer or measure gives: its text or a parameter has the word, it takes all columns of `scored`
        (or a view does), or it reads `scores` and compares `scorer` with nothing. A parameter whose name begins with `past_` is about
        earlier rounds and names no column of this one."""
        nodes, named = list(nodes_of(tree_of(self.file.text))), {name for _, name in tables_of(self.file.text)}
        if "scored" in self.tables and ("scored" not in named or any(node.get("class") == "STAR" for node in nodes)):
            return True
        if "scores" in self.tables and not any(_by_scorer(node) for node in nodes):
            return True
        values = {**self.file.defaults, **self.given}
        words = " ".join([self.file.code(), *(str(value) for key, value in values.items() if not key.startswith(PAST_PARAM))])
        return column.lower() in re.findall(r"\w+", words.lower())

    def bound(self, spec: Spec, round_: int) -> dict[str, Any]:
        """A value for every parameter."""
        return self.file.bind(self.given, automatic(spec, round_, self.step))

    def settings(self, spec: Spec, round_: int) -> dict[str, Any]:
        """What enters the fingerprint: the SQL without comments and its parameters."""
        return {"sql": self.file.code(), "params": self.bound(spec, round_)}

    def schema(self, spec: Spec, spec_path: Path) -> pa.Schema:
        """The result's columns and types on tables without rows. QueryError where the SQL cannot run."""
        from engine.lake import Lake
        from engine.query import Session, Window

        self._declared(spec)
        names = [*scorer_columns(spec), *measure_columns(spec)]
        names += [picker.column for picker in spec.select.pickers]
        window = Window(spec.experiment, 0, versions={}, lake=False, scorers=tuple(names))
        empty = Session(Lake(str(spec_path.parent)), window, threads=1)
        return self.probe(empty.table, self.bound(spec, 0))

    def probe(self, sql: Callable[[str, dict[str, Any]], pa.Table], params: dict[str, Any]) -> pa.Schema:
        """The result's columns and types, without running it."""
        try:
            return sql(f"select * from (\n{self.file.query()}\n) limit 0", params).schema
        except QueryError as error:
            raise QueryError(error.message, where=str(self.file.path), hint=error.hint) from error

    def _declared(self, spec: Spec) -> None:
        """QueryError where it reads a table of this round that the spec fills with nothing."""
        clusters = dict.fromkeys(("clusters", "cluster_stats", "embeddings"), spec.cluster)
        needs: dict[str, Any] = {**clusters, "plan": spec.plan, "preferences": spec.compare}
        needs[".".join(SEGMENTS)] = segment_columns(spec)
        needs |= {f"calibrate.{name}": spec.calibrate for name in ANSWERS} | {f"followup.{name}": spec.followup for name in ANSWERS}
        for name in sorted(self.tables & set(needs)):
            if not needs[name]:
                fields = {"preferences": "compare", ".".join(SEGMENTS): "measure with the method segment_reward"}
                field = "cluster" if name in clusters else fields.get(name, name.partition(".")[0])
                raise QueryError(
                    f"it reads {name}, and the spec has no `{field}`", where=str(self.file.path), hint=f"add `{field}` to the spec"
                )
