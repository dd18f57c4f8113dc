"""Experiments by name: those with a YAML, and those that only the lake knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from engine.errors import RondoError, SpecError
from engine.experiment import Experiment, find, key, parse_round
from engine.home import Home
from engine.lake import Lake
from engine.ledger import OPENING, Entry, Ledger
from engine.registry import nearest
from engine.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping


def names(home: Home) -> list[str]:
    """Every experiment of the home: rounds in the lake, or a YAML in experiments/."""
    found = {file.experiment for file in Lake(home.lake).files("steps")}
    return sorted(found | ({path.stem for path in home.experiments.glob("*.yaml")} if home.experiments.is_dir() else set()))


def load(name: str, home: Home, overrides: Sequence[str] = (), recorded: bool = False) -> Experiment:
    """An experiment by path or name; one that was run from elsewhere is found through the lake.

    `recorded` accepts the spec that the lake has where its file is gone (enough to look, not to run). SpecError otherwise.
    """
    try:
        return Experiment.load(find(name, home), overrides, home)
    except SpecError as error:
        entry = _opening(Ledger(Lake(home.lake), name).entries) if _is_name(name) and not _has_file(name, home) else None
        if entry is None:
            raise
        path = Path(entry.detail.get("spec_path", ""))
        if path.is_file():
            found = Experiment.load(path, overrides, home)
            if found.name == name:
                return found
        if not recorded:
            raise SpecError(
                f"{name} was run from a file that is gone or is another experiment now",
                where=str(path),
                hint="restore the file, or give the path to its YAML",
            ) from error
        return Experiment(_spec(entry), path, home)


def _is_name(name: str) -> bool:
    return "/" not in name and not name.endswith((".yaml", ".yml"))


def _has_file(name: str, home: Home) -> bool:
    return Path(name).is_file() or (home.experiments / f"{name}.yaml").is_file()


def _opening(entries: Mapping[tuple[int, str], Entry]) -> Entry | None:
    return max((e for (_, step), e in entries.items() if step == OPENING), key=lambda e: e.at, default=None)


def _spec(entry: Entry) -> Spec:
    try:
        return Spec.model_validate(entry.ingredients["spec"])
    except ValidationError as error:
        raise SpecError(
            f"the spec of {entry.experiment} in the lake is of another release: {error}", hint="give the path to its YAML"
        ) from error


def split(text: str, marks: str = "/@") -> tuple[str, int | None]:
    """'exp/2' or 'exp@base' -> name and round; without a round None. SpecError for a round that is none."""
    for mark in marks:
        name, found, round_ = text.rpartition(mark)
        if found and not text.endswith((".yaml", ".yml")):
            return name, parse_round(round_)
    return text, None


def need(text: str, marks: str = "/@") -> tuple[str, int]:
    """As `split`, where the round must be given."""
    name, round_ = split(text, marks)
    if round_ is None:
        raise SpecError(f"{text!r}: expected EXPERIMENT{marks[-1]}ROUND, such as {text}{marks[-1]}1", where="command line")
    return name, round_


def entries(name: str, home: Home) -> dict[tuple[int, str], Entry]:
    """The ledger of an experiment that has run. RondoError with the nearest name where it has not."""
    found = Ledger(Lake(home.lake), name).entries
    if not found:
        known = sorted({file.experiment for file in Lake(home.lake).files("steps")})
        raise RondoError(f"no experiment {name!r} has run in {home.lake}", hint=nearest(name, known) if known else "`rondo run` first")
    return found


def recorded_spec(name: str, home: Home, round_: int | None = None) -> Spec:
    """The resolved spec that a round (the last one by default) was opened with."""
    opened = {r: e for (r, step), e in entries(name, home).items() if step == OPENING}
    if round_ is not None and round_ not in opened:
        raise RondoError(f"{name} has no round {key(round_)}", hint=f"its rounds: {', '.join(key(r) for r in sorted(opened))}")
    return _spec(opened[max(opened) if round_ is None else round_])
