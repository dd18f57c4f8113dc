"""The select room: one SQL file says which answers train. It fills the table `selected`.

The file gives prompt_id and generation_id (the engine fills the messages), or prompt_id and messages of its own; it may
also give weight, label, cluster_id, rank, "order", origin, source_round, reason and row_id. It sees this round's rollouts
(never those of evaluation) under bare names and earlier rounds under `history`.
"""

from __future__ import annotations

from pathlib import Path

from engine import sqlfile
from engine.errors import QueryError
from engine.ids import digest
from engine.registry import nearest
from engine.spec import Spec
from engine.sqlfile import SqlFile
from engine.step import Ref
from engine.tables import TABLES
from engine.views import tables_of, view_texts

ROLLOUTS = ("generations", "scores", "scored")
NOW = (*ROLLOUTS, "prompts", "plan", "preferences", "embeddings", "clusters", "cluster_stats")
PAST = (*(name for name in TABLES if name != "steps"), "scored")


def find(sql: str, spec_path: Path | None = None) -> Path:
    """The selection's file: beside the spec, else below the shipped sql folder. QueryError with the nearest name."""
    return sqlfile.find(sql, spec_path)


def reads_tables(text: str, where: str = "") -> set[str]:
    """Every table that the SQL reads, views resolved: 'scored', 'history.selected', ...

    QueryError for a table that does not exist, or that a selection may not read.
    """
    found: set[str] = set()
    for schema, name in sorted(tables_of(text)):
        found |= _resolve(schema, name, where)
    return found


def _resolve(schema: str, name: str, where: str) -> set[str]:
    if schema == "lake":
        hint = f"history.{name} has this experiment's earlier rounds"
        raise QueryError(f"lake.{name}: a step never reads other experiments", where=where, hint=hint)
    if schema not in ("", "bare", "history"):
        raise QueryError(f"no schema {schema!r}", where=where, hint="bare names are this round, `history` the earlier ones")
    views = view_texts()
    if name in views:
        return set().union(*(_resolve(schema, inner, where) for _, inner in tables_of(views[name])))
    known = PAST if schema == "history" else NOW
    if name in known:
        return {f"history.{name}" if schema == "history" else name}
    if name in PAST:
        hint = f"history.{name} has earlier rounds"
        raise QueryError(f"{name} of this round does not exist yet when answers are selected", where=where, hint=hint)
    if name in TABLES:
        raise QueryError(f"a selection cannot read {name}", where=where, hint=f"allowed: {', '.join(sorted(known))}")
    raise QueryError(f"no table {name!r}", where=where, hint=nearest(name, sorted({*known, *views})))


def refs(tables: set[str], columns: list[str]) -> list[Ref]:
    """The parts behind table names as `reads_tables` gives them; `columns` are the round's scorers."""
    scores = [Ref("scores", f"rollout/{name}") for name in ["score", *columns]] if columns else []
    now = {"generations": [Ref("generations", "rollout")], "scores": scores, "prompts": [Ref("prompts", "train")]}
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


def automatic(seed: int, round_: int) -> dict[str, int]:
    """What the engine binds by itself: $round, and $seed, 52 bits that differ by the experiment's seed and the round."""
    return {"round": round_, "seed": int(digest(seed, round_, "selected")[:13], 16)}


def load(spec: Spec, spec_path: Path | None) -> SqlFile:
    """The round's selection, checked: tables, parameters, nothing that changes from run to run. QueryError otherwise."""
    file = sqlfile.read(find(spec.select.sql, spec_path))
    reads_tables(file.text, str(file.path))
    file.require_stable()
    file.bind(spec.select.params, automatic(spec.seed, 0))
    return file


def check(spec: Spec, spec_path: Path) -> None:
    """As `load`, and the SQL is tried on tables without rows. QueryError where columns or types are not those of `selected`."""
    from engine.lake import Lake
    from engine.query import Session, Window
    from engine.select.fill import columns

    file = load(spec, spec_path)
    params = file.bind(spec.select.params, automatic(spec.seed, 0))
    scorers = tuple(scorer.column for scorer in spec.score)
    empty = Session(Lake(str(spec_path.parent)), Window(spec.experiment, 0, versions={}, lake=False, scorers=scorers), threads=1)
    columns(empty.table, file, params, bool(reads_tables(file.text, str(file.path)) & set(ROLLOUTS)))
