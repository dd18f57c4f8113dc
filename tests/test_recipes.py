"""Every shipped recipe, two rounds end to end on a tiny real model whose answers are seldom right.

tests/recipes/<recipe>.yaml, where there is one, holds what the tiny experiment sets over the recipe.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

import loop_home
from engine import specfile

OVER = Path(__file__).parent / "recipes"
TINY = {"max_steps": 4, "batch_size": 8, "max_length": 64, "learning_rate": 1e-2, "save_every": 3}


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _merged(below.get(key), value) for key, value in above.items()}
    return above


def test_no_leftovers() -> None:
    assert {path.stem for path in OVER.glob("*.yaml")} <= set(specfile.recipes())


@pytest.mark.recipes
@pytest.mark.parametrize("recipe", sorted(specfile.recipes()))
def test_two_rounds(recipe: str, tmp_path: Path) -> None:
    given = {key: value for key, value in yaml.safe_load(loop_home.YAML).items() if key not in ("select", "train")}
    generate = given.pop("generate")
    own = specfile.read_yaml(specfile.recipes()[recipe]).values
    given |= {"extends": recipe, "rounds": 2, "generate": generate | {"samples": min(own["generate"].get("samples", 4), 4)}}
    over = OVER / f"{recipe}.yaml"
    given = _merged(given, yaml.safe_load(over.read_text()) if over.exists() else {})
    loop_home.write(tmp_path, yaml.safe_dump(given, sort_keys=False))
    experiment = loop_home.load(tmp_path, *(f"train.0.{key}={value}" for key, value in TINY.items()))
    experiment.run()
    assert experiment.state().next_round() is None
    for round_ in (0, 1):
        train = specfile.at(experiment.spec, round_).train[0]
        checkpoint = experiment.checkpoint(round_)
        init = experiment.checkpoint(-1).digest if train.init == "base" else experiment.state().entries[round_, "policy"].content_hash
        assert checkpoint.row["parents"] == [init]
        sources = set(experiment.lake.read("selected", experiment="loop", rounds=[round_])["source_round"].to_pylist())
        if train.data == "cumulative":
            assert sources == set(range(-1, round_ + 1))
        else:
            assert round_ in sources
        assert len(checkpoint.lineage().fetchall()) > 0
