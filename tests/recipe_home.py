"""The tiny experiment of every shipped recipe: `loop_home` with what tests/recipes/<recipe>.yaml sets over the recipe."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

import loop_home
from engine import specfile

OVER = Path(__file__).parent / "recipes"
BESIDE = OVER / "beside"  # files that some of them name


def merged(below: Any, above: Any) -> Any:
    """`above` over `below`: mappings merge, everything else is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: merged(below.get(key), value) for key, value in above.items()}
    return above


def write(folder: Path, recipe: str, over: dict[str, Any] | None = None) -> Path:
    """The tiny experiment of a recipe with its data and the files that it may name; the path of its YAML. `over` is set over it."""
    path = loop_home.write(folder, yaml.safe_dump(merged(yaml.safe_load(text(recipe)), over or {}), sort_keys=False))
    for file in BESIDE.iterdir():
        shutil.copy(file, path.parent)
    return path


def text(recipe: str, experiment: str = "loop") -> str:
    """The YAML of an experiment of two rounds that extends the recipe."""
    given = {key: value for key, value in yaml.safe_load(loop_home.YAML).items() if key not in ("select", "train")}
    generate = given.pop("generate")
    own = specfile.read_yaml(specfile.recipes()[recipe]).values
    given |= {"experiment": experiment, "extends": recipe, "rounds": 2}
    given["generate"] = generate | {"samples": min(own["generate"].get("samples", 4), 4)}
    over = OVER / f"{recipe}.yaml"
    return yaml.safe_dump(merged(given, yaml.safe_load(over.read_text()) if over.exists() else {}), sort_keys=False)
