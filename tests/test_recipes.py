"""Every shipped recipe, two rounds end to end on a tiny real model whose answers are seldom right.

tests/recipes/<recipe>.yaml, where there is one, holds what the tiny experiment sets over the recipe.
"""

from pathlib import Path

import pytest

import loop_home
import recipe_home
from engine import specfile
from engine.experiment import Experiment
from engine.spec import Train
from engine.train import objectives

TINY = {"max_steps": 4, "batch_size": 8, "max_length": 64, "learning_rate": 1e-2, "save_every": 3}


def test_no_leftovers() -> None:
    assert {path.stem for path in recipe_home.OVER.glob("*.yaml")} <= set(specfile.recipes())


def checked(experiment: Experiment, train: Train, round_: int) -> None:
    """The checkpoint of an entry of `train` comes from the model that it names and was trained on exactly what its objective reads."""
    checkpoint, reads = experiment.checkpoint(round_, train.role), objectives.load(train.objective).reads
    starts = {"base": lambda: experiment.checkpoint(-1).digest, "previous": lambda: policy(experiment, round_)}
    if train.init in starts:
        assert checkpoint.row["parents"] == [starts[train.init]()]
    trained = experiment.lake.read("trained_rows", experiment="loop", rounds=[round_], part=train.role)["row_id"].to_pylist()
    assert len(trained) == checkpoint.row["rows_expected"] > 0
    if reads == "prompts":  # it answers them itself
        part = "train" if train.role == "policy" else f"train/{train.role}"
        rows = experiment.lake.read("generations", experiment="loop", rounds=[round_], part=part)
        assert set(trained) == set(rows["generation_id"].to_pylist())
    else:
        rows = experiment.lake.read(reads, experiment="loop", rounds=[round_], part=train.role)
        sources = set(rows["source_round"].to_pylist())
        assert set(trained) <= set(rows["row_id"].to_pylist())
        if train.data == "cumulative":
            base = {-1} if reads == "selected" and train.role == "policy" else set()
            assert sources == base | set(range(round_ + 1))
        else:
            assert round_ in sources
    assert len(checkpoint.lineage().fetchall()) > 0


def policy(experiment: Experiment, round_: int) -> str:
    """Digest of the policy that a round starts with."""
    return experiment.state().entries[round_, "policy"].content_hash


@pytest.mark.recipes
@pytest.mark.parametrize("recipe", sorted(specfile.recipes()))
def test_two_rounds(recipe: str, tmp_path: Path) -> None:
    recipe_home.write(tmp_path, recipe)
    entries = range(len(specfile.read_yaml(specfile.recipes()[recipe]).values.get("train", [{}])))
    experiment = loop_home.load(tmp_path, *(f"train.{i}.{key}={value}" for i in entries for key, value in TINY.items()))
    experiment.run()
    assert experiment.state().next_round() is None
    for round_ in (0, 1):
        for train in specfile.at(experiment.spec, round_).train:
            checked(experiment, train, round_)
        for merge in specfile.at(experiment.spec, round_).merge:
            made = experiment.checkpoint(round_, merge.role)
            assert made.row["objective"] == f"merge:{merge.method}" and len(made.lineage().fetchall()) > 0
            assert len(made.row["parents"]) == len(set(merge.sources))
