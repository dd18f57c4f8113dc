"""The tiny experiment of every shipped recipe: `loop_home` with what tests/recipes/<recipe>.yaml sets over the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

import loop_home
from engine import specfile

OVER = Path(__file__).parent / "recipes"


def merged(below: Any, above: Any) -> Any:
    """`above` over `below`: mappings merge, everything else is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: merged(below.get(key), value) for key, value in above.items()}
    return above


def text(recipe: str, experiment: str = "loop") -> str:
    """The YAML of an experiment of two rounds that extends the recipe."""
    given = {key: value for key, value in yaml.safe_load(loop_home.YAML).items() if key not in ("select", "train")}
    generate = given.pop("generate")
    own = specfile.read_yaml(specfile.recipes()[recipe]).values
    given |= {"experiment": experiment, "extends": recipe, "rounds": 2}
    given["generate"] = generate | {"samples": min(own["generate"].get("samples", 4), 4)}
    over = OVER / f"{recipe}.yaml"
    return yaml.safe_dump(merged(given, yaml.safe_load(over.read_text()) if over.exists() else {}), sort_keys=False)
