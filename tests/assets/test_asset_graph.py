"""The graph of every shipped recipe and experiment sorts, follows the recipe, and carries the right names and versions."""

import json

import pytest
from dagster import AssetKey, Definitions

from assets import definitions as location
from engine import specfile, starters
from engine.experiment import Experiment
from engine.home import Home

QUICKSTART = {
    "checkpoint": {"demonstrations", "policy", "selected"},
    "demonstrations": {"heldout"},
    "eval_generations": {"checkpoint", "heldout"},
    "eval_score": {"eval_scores_arithmetic_steps", "eval_scores_math"},
    "eval_scores_arithmetic_steps": {"eval_generations", "heldout"},
    "eval_scores_math": {"eval_generations", "heldout"},
    "evaluation": {"eval_generations", "eval_score", "eval_scores_arithmetic_steps", "eval_scores_math", "heldout"},
    "generations": {"policy", "prompts"},
    "heldout": set(),
    "policy": set(),
    "promotion": {"checkpoint", "evaluation", "policy"},
    "prompts": set(),
    "score": {"scores_arithmetic_steps", "scores_math"},
    "scores_arithmetic_steps": {"generations", "prompts"},
    "scores_math": {"generations", "prompts"},
    "selected": {"generations", "prompts", "score", "scores_arithmetic_steps", "scores_math"},
}


def edges(defs: Definitions, experiment: str) -> dict[str, set[str]]:
    """What each asset of an experiment depends on, in an order that Dagster could sort."""
    graph = defs.get_repository_def().asset_graph
    found = {}
    for key in graph.toposorted_asset_keys:
        assert set(graph.get(key).parent_keys) <= set(found), f"{key} stands before what it reads"
        found[key] = set(graph.get(key).parent_keys)
    return {key.path[1]: {k.path[1] for k in parents} for key, parents in found.items() if key.path[0] == experiment}


@pytest.mark.parametrize("recipe", sorted(specfile.recipes()))
def test_every_recipe_sorts(recipe: str, home: Home) -> None:
    for split in ("train", "gate", "test"):
        (home.experiments / f"{split}.jsonl").write_text(json.dumps({"prompt": split, "answer": "1"}) + "\n")
    (home.experiments / "mine.yaml").write_text(
        f"experiment: mine\nextends: {recipe}\nmodels: {{policy: model}}\nscore: [{{verifier: exact}}]\n"
        "prompts: {train: train.jsonl, gate: gate.jsonl, test: test.jsonl, fields: {reference: answer}}\n"
    )
    found = edges(location.of(home), "mine")
    assert {"policy", "checkpoint", "evaluation", "promotion"} <= set(found)


@pytest.mark.parametrize("name", ["quickstart", "gsm8k"])
def test_every_shipped_experiment_sorts(name: str, home: Home) -> None:
    starters.create(name, home.experiments)
    defs = location.of(home)
    groups = {defs.get_repository_def().asset_graph.get(k).group_name for k in defs.get_repository_def().asset_graph.get_all_asset_keys()}
    assert location.BROKEN not in groups
    for path in home.experiments.glob("*.yaml"):
        assert "promotion" in edges(defs, Experiment.load(path, home=home).name)


def test_the_quickstart_graph_is_the_recipe(home: Home) -> None:
    starters.create("quickstart", home.experiments)
    assert edges(location.of(home), "quickstart") == QUICKSTART


def test_names_groups_partitions_and_code_versions(home: Home) -> None:
    defs = location.of(home)
    repository = defs.get_repository_def()
    node = repository.asset_graph.get(AssetKey(["tiny-loop", "generations"]))
    assert (node.group_name, node.partitions_def.name, node.code_version) == ("tiny_loop", "rounds_tiny-loop", "1")
    assert node.metadata["table"] == "generations/rollout"
    assert repository.has_job("tiny_loop_round")
    assert repository.get_sensor_def("tiny_loop_advance").default_status.value == "STOPPED"
    assert repository.get_schedule_def("tiny_loop_nightly").default_status.value == "STOPPED"


def test_a_broken_file_is_shown_and_leaves_the_others_alone(home: Home) -> None:
    (home.experiments / "wrong key.yaml").write_text("experiment: wrong\nrouns: 3\n")
    (home.experiments / "tiny_twin.yaml").write_text("experiment: tiny_loop\nextends: tiny-loop.yaml\n")
    graph = location.of(home).get_repository_def().asset_graph
    broken = {key: graph.get(key) for key in graph.get_all_asset_keys() if key.path[0] == location.BROKEN}
    assert len(broken) == 2
    texts = " ".join(str(node.description) for node in broken.values())
    assert "wrong key.yaml:2" in texts and "rounds" in texts
    assert "same name in Dagster as that of tiny-loop.yaml" in texts
    assert all(node.group_name == location.BROKEN and not node.is_executable for node in broken.values())
    assert graph.has(AssetKey(["tiny-loop", "promotion"]))
