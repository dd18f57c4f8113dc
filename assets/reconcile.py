"""Tells a Dagster instance what the ledger knows and it does not: steps and decisions that were made without Dagster."""

from __future__ import annotations

from dagster import AssetCheckEvaluation, AssetCheckKey, AssetKey, AssetMaterialization, DagsterEventType, DagsterInstance
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.storage.asset_check_execution_record import COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES

from assets import checks, metadata
from engine.experiment import Experiment, key
from engine.graph import union
from engine.home import Home
from engine.ledger import OPENING
from engine.rounds import State
from engine.run import Done
from engine.step import BASE, Step

SKIPPED = "skipped"


def instance_of(home: Home) -> DagsterInstance | None:
    """The instance of a home; None where `rondo ui` was never started."""
    return DagsterInstance.from_config(str(home.dagster)) if (home.dagster / "dagster.yaml").is_file() else None


def reconcile(experiment: Experiment, instance: DagsterInstance | None = None) -> int:
    """Reports every step whose latest data version in the instance is not the ledger's; adds the rounds as partitions.

    `instance` defaults to that of the experiment's home; without one nothing is done. Returns how many events were reported.
    Call it while no Dagster run of the experiment is under way: its own report may be on the way.
    """
    if instance is None:
        instance = instance_of(experiment.home)
        if instance is None:
            return 0
        with instance:
            return reconcile(experiment, instance)
    state = experiment.state()
    steps, edges = union(experiment.spec, experiment.path)
    rounds = [r for r in range(BASE, experiment.spec.rounds) if (r, OPENING) in state.entries]
    following = state.next_round()
    partitions = [key(r) for r in sorted({*rounds, *([] if following is None else [following])})]
    instance.add_dynamic_partitions(f"rounds_{experiment.name}", partitions)
    reported = sum(_step(experiment, instance, state, step, edges[name], rounds) for name, step in steps.items())
    return reported + _decision(experiment, instance)


def _step(experiment: Experiment, instance: DagsterInstance, state: State, step: Step, upstream: set[str], rounds: list[int]) -> int:
    asset = AssetKey([experiment.name, step.name])
    tags = instance.event_log_storage.get_latest_tags_by_partition(asset, DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG])
    reported = 0
    for round_ in rounds:
        entry, version = state.entries.get((round_, step.name)), _version(state, round_, step.name)
        if version is None:
            continue
        if tags.get(key(round_), {}).get(DATA_VERSION_TAG) == version:
            continue
        done = Done(round_, step.name, entry.state if entry else SKIPPED, entry)
        instance.report_runless_asset_event(
            AssetMaterialization(
                asset,
                partition=key(round_),
                metadata=metadata.of(done, experiment) | {"made": "without Dagster"},
                tags=_tags(experiment, state, round_, upstream)
                | {DATA_VERSION_TAG: version, CODE_VERSION_TAG: str(entry.ingredients["revision"] if entry else step.revision)},
            )
        )
        reported += 1
    return reported


def _version(state: State, round_: int, step: str) -> str | None:
    """The data version of a step of an opened round; None where the round has not come so far."""
    entry = state.entries.get((round_, step))
    if entry is not None:
        return entry.content_hash
    return None if step in state.graph(round_).steps else SKIPPED


def _tags(experiment: Experiment, state: State, round_: int, upstream: set[str]) -> dict[str, str]:
    """Which versions of its inputs a step read, as Dagster itself would note it; without them it would call the step unsynced."""
    tags = {DATA_VERSION_IS_USER_PROVIDED_TAG: "true"}
    for name in sorted(upstream):
        version, asset = _version(state, round_, name), AssetKey([experiment.name, name])
        if version is not None:
            tags |= {get_input_data_version_tag(asset): version, get_input_event_pointer_tag(asset): NULL_EVENT_POINTER}
    return tags


def _decision(experiment: Experiment, instance: DagsterInstance) -> int:
    """Reports the gate's answer when the latest decision is not the one that the check saw last."""
    verdict = checks.judge(experiment)
    sequence = verdict["metadata"]["sequence"]
    check = AssetCheckKey(AssetKey([experiment.name, "promotion"]), checks.GATE)
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([check]).get(check)
    evaluation = record.evaluation if record and record.status in COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES else None
    seen = evaluation.metadata.get("sequence") if evaluation else None  # a run that failed before its check has only planned one
    if sequence < 0 or (seen is not None and seen.value == sequence):
        return 0
    instance.report_runless_asset_event(AssetCheckEvaluation(asset_key=check.asset_key, check_name=check.name, **verdict))
    return 1
