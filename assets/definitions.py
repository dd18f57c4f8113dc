"""The code location: every experiment found in the home. A broken YAML is shown as an asset and leaves the others alone."""

from __future__ import annotations

import re
from pathlib import Path

from dagster import AssetKey, AssetSpec, Definitions, MetadataValue, get_dagster_logger, in_process_executor

from assets.experiment import definitions, names
from assets.resources import Rondo
from engine.errors import RondoError, SpecError
from engine.experiment import Experiment
from engine.home import Home
from engine.ids import digest

BROKEN = "broken"


def of(home: Home) -> Definitions:
    """Definitions of every YAML in <home>/experiments, by file name."""
    taken: dict[str, Path] = {}
    found = []
    for path in sorted(home.experiments.glob("*.yaml")):
        try:
            found.append(_load(path, home, taken))
        except (RondoError, ImportError, OSError) as error:
            get_dagster_logger("rondo").error(f"{path} is left out: {error}")
            found.append(Definitions(assets=[broken(path, error)]))
    return Definitions.merge(*found, Definitions(resources={"rondo": Rondo(home=str(home.root))}, executor=in_process_executor))


def _load(path: Path, home: Home, taken: dict[str, Path]) -> Definitions:
    experiment = Experiment.load(path, home=home)
    plain = names(experiment).plain
    if plain in taken:
        raise SpecError(
            f"experiment {experiment.name!r} has the same name in Dagster as that of {taken[plain].name}",
            where=str(path),
            hint="give one of them another name ('-' and '_' count as the same)",
        )
    made = definitions(experiment)
    taken[plain] = path
    return made


def broken(path: Path, error: Exception) -> AssetSpec:
    """An asset that cannot run and says what is wrong with a file."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", path.stem)
    name = name if name == path.stem else f"{name}_{digest(path.stem)[:4]}"
    told = {"file": MetadataValue.path(str(path)), "error": MetadataValue.md(f"```\n{error}\n```")}
    return AssetSpec(AssetKey([BROKEN, name]), description=f"{path.name} cannot be loaded:\n\n{error}", group_name=BROKEN, metadata=told)


defs = of(Home.find())
