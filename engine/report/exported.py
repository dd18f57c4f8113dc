"""The rows that train in a round, written for other tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from engine.errors import DataError, SpecError
from engine.experiment import key
from engine.home import Home
from engine.lake import Lake
from engine.registry import nearest
from engine.report import known
from engine.rows import own_columns

TABLES = ("pairs", "selected")
FORMATS = ("trl", "parquet", "jsonl")


@dataclass(frozen=True)
class Wanted:
    """Which rows, and how they are written. `kind` and `plain` belong to the format trl."""

    table: str = "pairs"
    role: str = "policy"
    format: str = "parquet"
    kind: str | None = None
    plain: bool = False


def export(experiment: str, home: Home, wanted: Wanted, out: Path) -> dict[str, Any]:
    """Writes them; what was read and written. SpecError for a setting that is none, DataError where there are no rows."""
    from engine.pairs.convert import files
    from engine.pairs.convert.trl import Kind, to_trl

    _one_of("--table", wanted.table, TABLES)
    _one_of("--format", wanted.format, FORMATS)
    if wanted.kind is not None:
        _one_of("--kind", wanted.kind, get_args(Kind))
    if wanted.format != "trl" and (wanted.kind or wanted.plain):
        raise SpecError("--kind and --plain say how a data set of TRL looks", where="command line", hint="add --format trl")
    name, round_ = known.split(experiment)
    known.entries(name, home)
    lake = Lake(home.lake)
    round_ = _latest(lake, name, wanted) if round_ is None else round_
    rows = own_columns(lake.read(wanted.table, experiment=name, rounds=[round_], part=wanted.role))
    if not rows.num_rows:
        parts = sorted({file.part for file in lake.files(wanted.table, experiment=name, rounds=[round_])})
        text = f"{name}/{key(round_)} has no {wanted.table} of {wanted.role!r}"
        raise DataError(text, hint=f"roles that have some: {', '.join(parts)}" if parts else f"`rondo status {name}` shows its rounds")
    files.fresh(out)
    written = rows.num_rows
    if wanted.format == "trl":
        from engine.train.quiet import quiet

        with quiet():
            made = to_trl(rows, wanted.kind, "plain" if wanted.plain else "conversational")  # type: ignore[arg-type]
            made.save_to_disk(str(out))
        written = len(made)
    else:
        (files.write_parquet if wanted.format == "parquet" else files.write_jsonl)(rows, out)
    found = {"experiment": name, "round": key(round_), "table": wanted.table, "part": wanted.role, "format": wanted.format}
    return found | {"rows": rows.num_rows, "written": written, "path": out}


def _latest(lake: Lake, name: str, wanted: Wanted) -> int:
    rounds = [file.round for file in lake.files(wanted.table, experiment=name, part=wanted.role)]
    if not rounds:
        raise DataError(f"{name} has no {wanted.table} of {wanted.role!r}", hint=f"`rondo status {name}` shows its rounds")
    return max(rounds)


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SpecError(f"expected {' or '.join(allowed)}, found {value!r}", where=option, hint=nearest(value, list(allowed)))
