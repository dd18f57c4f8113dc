"""The graph of every shipped recipe and experiment sorts, follows the recipe, and carries the right names and versions."""

import json

import pytest
from dagster import AssetKey, Definitions

import loop_home
import recipe_home
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
    loop_home.write(home.root, recipe_home.text(recipe, "mine"), "mine")
    found = edges(location.of(home), "mine")
    assert {"policy", "checkpoint", "evaluation", "promotion"} <= set(found)


EVERYTHING = """
extends: raft
prompts:
  train: train.jsonl
  gate: gate.jsonl
  per_round: 4
  fields: {reference: answer, topic: topic}
  hygiene: {near: {}}
  mix: {by: topic, plan: shares}
models: {policy: model}
cluster: [{name: asked, k: 2}, {name: said, of: generations, k: 2}, {name: pool, of: pool, k: 2}]
plan: [{name: shares, sql: shares.sql}, {name: heat, sql: heat.sql}]
calibrate: {samples: 2, temperatures: [0.5, 1.0]}
generate: {plan: heat}
followup: [{name: again, sql: again.sql}]
score: [{verifier: exact}]
measure: [{method: logprob, name: fit, params: {model: policy}}]
select: {sql: second.sql, params: {top: null, min_score: null}}
stop: {metric: mean}
evaluate: {metrics: [mean]}
"""
SQL_FILES = {
    "shares": "SELECT 'weight' AS key, 'odd' AS item_id, 1.0 AS value, count(*)::VARCHAR AS reason FROM history.prompts",
    "heat": "SELECT 'temperature' AS key, arg_max(temperature, score) AS value FROM calibrate.scored",
    "second": "SELECT prompt_id, generation_id FROM followup.generations",
    "again": "SELECT prompt_id, generation_id AS parent_id, [{'role': 'user', 'content': response}] AS messages FROM generations",
}


def test_a_spec_that_uses_every_kind_of_step_sorts(home: Home) -> None:
    (home.experiments / "everything.yaml").write_text(f"experiment: everything\n{EVERYTHING}")
    for split in ("train", "gate"):
        (home.experiments / f"{split}.jsonl").write_text(json.dumps({"prompt": split, "answer": "1", "topic": "odd"}) + "\n")
    for name, text in SQL_FILES.items():
        (home.experiments / f"{name}.sql").write_text(f"-- a test\n{text}\n")
    found = edges(location.of(home), "everything")
    assert {"hygiene", "embeddings_asked", "clusters_asked", "embeddings_said", "clusters_said", "clusters_pool"} <= set(found)
    assert {"plan_shares", "plan_heat", "calibrate_generations", "calibrate_score", "again_generations", "scores_fit"} <= set(found)
    assert {"hygiene", "plan_shares"} <= found["prompts"] and "plan_heat" in found["generations"]
    assert "calibrate_generations" in found["plan_heat"] and "embeddings_asked" in found["clusters_asked"]
    assert "generations" in found["again_generations"] and "again_generations" in found["selected"]


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
