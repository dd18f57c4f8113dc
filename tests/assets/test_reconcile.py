"""Rounds made without Dagster appear in its instance, once, and a person's decision turns the gate's check."""

from collections.abc import Callable

import pytest
from dagster import AssetCheckKey, AssetKey, DagsterEventType, DagsterInstance
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from assets import definitions as location
from assets.reconcile import instance_of, reconcile
from assets.ui import prepare, start
from engine.errors import RondoError
from engine.experiment import Experiment
from engine.home import Home
from engine.ledger import OPENING

PROMOTION = AssetKey(["tiny-loop", "promotion"])


def versions(instance: DagsterInstance, step: str) -> dict[str, str]:
    """Latest data version of each round of a step."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        AssetKey(["tiny-loop", step]), DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"]
    )
    return {round_: tag["dagster/data_version"] for round_, tag in tags.items()}


def check(instance: DagsterInstance) -> bool:
    """Whether the gate's check passed last."""
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key([AssetCheckKey(PROMOTION, "gate")])
    return found[AssetCheckKey(PROMOTION, "gate")].evaluation.passed


def test_a_headless_round_is_reported_once(ran: Home, instance: DagsterInstance) -> None:
    experiment = Experiment.load("tiny-loop", home=ran)
    assert reconcile(experiment, instance) > 0
    entries = experiment.state().entries
    assert versions(instance, "generations") == {"base": "skipped", "000": entries[0, "generations"].content_hash}
    assert versions(instance, "promotion")["base"] == entries[-1, "promotion"].content_hash
    assert set(instance.get_dynamic_partitions("rounds_tiny-loop")) == {"base", "000", "001"}
    latest = instance.get_latest_materialization_event(AssetKey(["tiny-loop", "score"])).asset_materialization
    assert latest.metadata["made"].value == "without Dagster" and latest.tags["dagster/code_version"] == "1"
    assert check(instance)
    assert reconcile(experiment, instance) == 0
    graph = location.of(ran).get_repository_def().asset_graph
    stale = CachingStaleStatusResolver(instance, graph, loading_context=LoadingContextForTest(instance))
    for step in {name for round_, name in entries if round_ == 0} - {OPENING}:
        assert stale.get_status(AssetKey(["tiny-loop", step]), "000").value == "FRESH", step


def test_a_later_round_and_a_changed_one_are_reported(ran: Home, instance: DagsterInstance) -> None:
    experiment = Experiment.load("tiny-loop", home=ran)
    reconcile(experiment, instance)
    before = versions(instance, "checkpoint")["000"]
    changed = Experiment.load("tiny-loop", ["train.0.learning_rate=5e-3"], ran)
    changed.run(first=0)
    assert reconcile(changed, instance) > 0
    assert versions(instance, "checkpoint")["000"] != before
    assert set(versions(instance, "checkpoint")) == {"base", "000", "001"}


def test_a_persons_decision_turns_the_check(ran: Home, rewrite: Callable, instance: DagsterInstance) -> None:
    rewrite(condition="min: 2.0")
    experiment = Experiment.load("tiny-loop", home=ran)
    with experiment.driver() as driver:
        driver.round(1)
    reconcile(experiment, instance)
    assert not check(instance)
    experiment.promote(1, "looks fine", "a person")
    assert reconcile(experiment, instance) == 1
    assert check(instance)


def test_without_an_instance_nothing_is_reported(ran: Home) -> None:
    assert instance_of(ran) is None
    assert reconcile(Experiment.load("tiny-loop", home=ran)) == 0
    assert not ran.dagster.exists()


def test_the_ui_prepares_the_homes_own_instance(ran: Home) -> None:
    (ran.experiments / "broken.yaml").write_text("rouns: 3\n")
    prepare(ran)
    settings = ran.dagster / "dagster.yaml"
    with instance_of(ran) as instance:
        assert not instance.telemetry_enabled and instance.run_monitoring_enabled
        assert instance.run_retries_max_retries == 1 and not instance.run_retries_retry_on_asset_or_op_failure
        assert set(versions(instance, "checkpoint")) == {"base", "000"}
    settings.write_text(settings.read_text() + "# mine\n")
    prepare(ran)
    assert settings.read_text().endswith("# mine\n")
    assert reconcile(Experiment.load("tiny-loop", home=ran)) == 0


def test_the_ui_listens_on_this_machine_only(home: Home) -> None:
    with pytest.raises(RondoError, match="only listens on this machine"):
        start(home, host="0.0.0.0")


def test_a_taken_port_is_an_error(home: Home) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RondoError, match=f"port {port} of 127.0.0.1 cannot be used"):
            start(home, port=port)
