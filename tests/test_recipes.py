"""Every shipped recipe, two rounds end to end on a tiny real model whose answers are seldom right.

tests/recipes/<recipe>.yaml, where there is one, holds what the tiny experiment sets over the recipe.
"""

from pathlib import Path

import pytest

import loop_home
import recipe_home
from engine import specfile

TINY = {"max_steps": 4, "batch_size": 8, "max_length": 64, "learning_rate": 1e-2, "save_every": 3}


def test_no_leftovers() -> None:
    assert {path.stem for path in recipe_home.OVER.glob("*.yaml")} <= set(specfile.recipes())


@pytest.mark.recipes
@pytest.mark.parametrize("recipe", sorted(specfile.recipes()))
def test_two_rounds(recipe: str, tmp_path: Path) -> None:
    loop_home.write(tmp_path, recipe_home.text(recipe))
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
