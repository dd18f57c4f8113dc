"""Every shipped recipe, two rounds end to end on a tiny real model whose answers are seldom right: any score may train."""

from pathlib import Path

import pytest

import loop_home
from engine import specfile

BELOW = {"raft": 0.0, "rft": 0.0, "most-frequent-right": 0.0, "random": None}  # the least score that trains; none: no such parameter


def test_every_recipe_is_tried() -> None:
    assert set(BELOW) == set(specfile.recipes())


@pytest.mark.recipes
@pytest.mark.parametrize("recipe", sorted(BELOW))
def test_two_rounds(recipe: str, tmp_path: Path) -> None:
    given, _, _ = loop_home.YAML.partition("select:")
    _, _, rest = loop_home.YAML.partition("evaluate:")
    least = f"select: {{params: {{min_score: {BELOW[recipe]}}}}}\n" if BELOW[recipe] is not None else ""
    loop_home.write(tmp_path, f"extends: {recipe}\n{given}{least}evaluate:{rest}".replace("rounds: 3", "rounds: 2"))
    own = specfile.read_yaml(specfile.recipes()[recipe]).values["train"][0]
    experiment = loop_home.load(tmp_path, "train.0.max_steps=4", "train.0.batch_size=8", "train.0.max_length=64")
    experiment.run()
    assert experiment.state().next_round() is None
    for round_ in (0, 1):
        checkpoint = experiment.checkpoint(round_)
        init = experiment.checkpoint(-1).digest if own["init"] == "base" else experiment.state().entries[round_, "policy"].content_hash
        assert checkpoint.row["parents"] == [init]
        sources = set(experiment.lake.read("selected", experiment="loop", rounds=[round_])["source_round"].to_pylist())
        assert sources == (set(range(-1, round_ + 1)) if own["data"] == "cumulative" else {round_})
        assert len(checkpoint.lineage().fetchall()) > 0
