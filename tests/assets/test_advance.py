"""The sensor and the schedule: one run after the other, and a reason whenever nothing is launched."""

from collections.abc import Callable

import pytest
from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    RepositoryDefinition,
    SensorEvaluationContext,
    SkipReason,
    build_schedule_context,
    build_sensor_context,
)

import flat_home
from assets import definitions as location
from assets.automation import following
from assets.experiment import names, perform
from assets.resources import Rondo
from engine.errors import StepError
from engine.experiment import Experiment
from engine.graph import union
from engine.home import Home
from engine.locks import Lock


def sensor_context(home: Home, instance: DagsterInstance, repository: RepositoryDefinition) -> SensorEvaluationContext:
    """What the daemon gives to a sensor."""
    resources = {"rondo": Rondo(home=str(home.root))}
    return build_sensor_context(instance, instance_ref=instance.get_ref(), repository_def=repository, resources=resources)


def tick(home: Home, instance: DagsterInstance) -> tuple[list, str | None]:
    """One evaluation of the sensor: its requests, and the reason for none."""
    repository = location.of(home).get_repository_def()
    with sensor_context(home, instance, repository) as context:
        data = repository.get_sensor_def("tiny_loop_advance").evaluate_tick(context)
    for request in data.dynamic_partitions_requests:
        instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
    return list(data.run_requests), data.skip_message


def create(home: Home, instance: DagsterInstance, status: DagsterRunStatus, tags: dict[str, str]) -> str:
    """A run of the experiment's job as the daemon would have created it."""
    job = location.of(home).resolve_job_def("tiny_loop_round")
    return instance.create_run_for_job(job, status=status, tags=tags | {"dagster/partition": "001"}).run_id


def test_it_starts_with_the_base(home: Home, instance: DagsterInstance) -> None:
    (request,), reason = tick(home, instance)
    assert (request.partition_key, request.run_key, reason) == ("base", "tiny-loop/base/0", None)
    assert request.tags["rondo/experiment"] == "tiny-loop"
    assert instance.get_dynamic_partitions("rounds_tiny-loop") == ["base"]


def test_it_goes_on_after_a_headless_round_and_ends_with_the_last(ran: Home, instance: DagsterInstance) -> None:
    (request,), _ = tick(ran, instance)
    assert request.partition_key == "001"
    Experiment.load("tiny-loop", home=ran).run()
    requests, reason = tick(ran, instance)
    assert (requests, reason) == ([], "all 2 rounds are done")


def test_a_failing_gate_stops_it(ran: Home, rewrite: Callable, instance: DagsterInstance) -> None:
    rewrite(rounds=3, condition="min: 2.0")
    experiment = Experiment.load("tiny-loop", home=ran)
    with experiment.driver() as driver:
        driver.round(1)
    requests, reason = tick(ran, instance)
    assert requests == [] and reason.startswith("the gate held round 001 (not mean 1 >= 2)")
    experiment.promote(1, "looks fine", "a person")
    (request,), _ = tick(ran, instance)
    assert request.partition_key == "002"


@pytest.mark.slow
def test_a_flat_learning_curve_ends_it(home: Home, instance: DagsterInstance) -> None:
    flat_home.write(home.root)
    experiment = Experiment.load("flat", home=home)
    experiment.run()
    found = following(Rondo(home=str(home.root)), names(experiment), frozenset(union(experiment.spec, experiment.path)[0]), instance)
    assert isinstance(found, SkipReason)
    assert "flattened at round 002: mean 0.85" in found.skip_message and "`rondo run flat --from 3`" in found.skip_message
    assert instance.get_dynamic_partitions("rounds_flat") == ["base", "000", "001", "002"]
    with pytest.raises(StepError, match="flattened at round 002"), experiment.driver() as driver:
        perform(driver, 3, "policy")
    changed = flat_home.load(home.root, "stop=null")
    with changed.driver() as driver:
        assert perform(driver, 3, "policy").state == "done"


@pytest.mark.parametrize("status", [DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTED])
def test_one_run_at_a_time(ran: Home, instance: DagsterInstance, status: DagsterRunStatus) -> None:
    tick(ran, instance)
    run = create(ran, instance, status, {})
    assert tick(ran, instance) == ([], f"run {run} is {status.value.lower()}")


def test_a_failed_run_waits_for_a_person_and_a_reopening_launches_again(ran: Home, instance: DagsterInstance) -> None:
    (request,), _ = tick(ran, instance)
    run = create(ran, instance, DagsterRunStatus.FAILURE, {"dagster/run_key": request.run_key})
    requests, reason = tick(ran, instance)
    assert requests == [] and f"run {run} of round 001 ended as failure" in reason
    with Experiment.load("tiny-loop", home=ran).driver() as driver:
        driver.open(1, bump=True)
    (again,), _ = tick(ran, instance)
    assert again.partition_key == "001" and again.run_key != request.run_key


def test_it_lets_a_headless_driver_work(ran: Home, instance: DagsterInstance) -> None:
    with Lock(ran.locks, "tiny-loop", "another"):
        requests, reason = tick(ran, instance)
    assert requests == [] and "is being driven by" in reason
    assert len(tick(ran, instance)[0]) == 1


def test_a_file_that_broke_is_the_reason(ran: Home, instance: DagsterInstance) -> None:
    repository = location.of(ran).get_repository_def()
    (ran.experiments / "tiny-loop.yaml").write_text("experiment: tiny-loop\nrouns: 3\n")
    with sensor_context(ran, instance, repository) as context:
        data = repository.get_sensor_def("tiny_loop_advance").evaluate_tick(context)
    assert data.run_requests == [] and "tiny-loop.yaml:2" in data.skip_message


def test_the_schedule_opens_one_round(ran: Home, instance: DagsterInstance) -> None:
    repository = location.of(ran).get_repository_def()
    schedule = repository.get_schedule_def("tiny_loop_nightly")
    assert schedule.cron_schedule == "0 2 * * *"
    with build_schedule_context(instance=instance, repository_def=repository, resources={"rondo": Rondo(home=str(ran.root))}) as context:
        data = schedule.evaluate_tick(context)
    assert [request.partition_key for request in data.run_requests] == ["001"]
    assert instance.has_dynamic_partition("rounds_tiny-loop", "001")
