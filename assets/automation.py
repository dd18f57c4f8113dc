"""What moves an experiment on without a person: a sensor that runs round after round, and a schedule that runs one a night.

Both ask the lake what comes next, so they give the same answer as `rondo run`; both are off until somebody switches them on.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions below when they are decorated.
from typing import TYPE_CHECKING

from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)
from dagster import schedule as dagster_schedule
from dagster import sensor as dagster_sensor

from assets.reconcile import reconcile
from assets.resources import Rondo
from engine.errors import RondoError
from engine.experiment import Experiment, key
from engine.graph import union
from engine.report.status import driven, ended

if TYPE_CHECKING:
    from assets.experiment import Names

TAG = "rondo/experiment"
RUN_KEY = "dagster/run_key"  # Dagster puts the key of a request here
INTERVAL = 10  # seconds between two looks of the sensor
CRON = "0 2 * * *"  # the schedule opens a round every night at two
IN_FLIGHT = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def sensor(called: "Names", steps: frozenset[str]) -> SensorDefinition:
    """Runs the experiment round after round while it is switched on; switching it off pauses the experiment."""

    @dagster_sensor(
        name=f"{called.plain}_advance",
        job_name=called.job,
        minimum_interval_seconds=INTERVAL,
        default_status=DefaultSensorStatus.STOPPED,
        description=f"Runs the rounds of {called.experiment} one after the other. Off: the experiment rests.",
    )
    def advance(context: SensorEvaluationContext, rondo: Rondo) -> SensorResult:
        answer = following(rondo, called, steps, context.instance)
        if isinstance(answer, SkipReason):
            return SensorResult(skip_reason=answer)
        assert answer.partition_key is not None
        return SensorResult(
            run_requests=[answer], dynamic_partitions_requests=[called.partitions.build_add_request([answer.partition_key])]
        )

    return advance


def schedule(called: "Names", steps: frozenset[str]) -> ScheduleDefinition:
    """Opens one round at each tick of CRON while it is switched on."""

    @dagster_schedule(
        name=f"{called.plain}_nightly",
        job_name=called.job,
        cron_schedule=CRON,
        default_status=DefaultScheduleStatus.STOPPED,
        description=f"Opens the next round of {called.experiment} at {CRON!r} (cron).",
    )
    def nightly(context: ScheduleEvaluationContext, rondo: Rondo) -> RunRequest | SkipReason:
        answer = following(rondo, called, steps, context.instance)
        if isinstance(answer, RunRequest):
            assert answer.partition_key is not None
            context.instance.add_dynamic_partitions(f"rounds_{called.experiment}", [answer.partition_key])
        return answer

    return nightly


def following(rondo: Rondo, called: "Names", steps: frozenset[str], instance: DagsterInstance) -> RunRequest | SkipReason:
    """The run that the experiment needs now, or why it needs none. Also tells the instance of rounds made without Dagster."""
    try:
        experiment = rondo.experiment(called.path)
        running = in_flight(instance, called)
        if running is not None:
            return SkipReason(f"run {running.run_id} is {running.status.value.lower()}")
        reconcile(experiment, instance)
        changed = set(union(experiment.spec, experiment.path)[0]) ^ steps
        if changed:
            return SkipReason(f"the spec now has other steps ({', '.join(sorted(changed))}): reload the code location")
        return _next(experiment, called, instance)
    except RondoError as error:
        return SkipReason(str(error))


def _next(experiment: Experiment, called: "Names", instance: DagsterInstance) -> RunRequest | SkipReason:
    state = experiment.state()
    held, round_ = state.stopped(), state.next_round()
    if held is not None:
        name = called.experiment
        return SkipReason(
            f"the gate held round {key(held.round)} ({held.reason}) and gate.on_fail is stop: "
            f"`rondo promote {name}@{held.round} --force`, `rondo rollback {name}` or `rondo run {name} --from {held.round}`"
        )
    flat = state.flat()
    if flat is not None:
        return SkipReason(f"{ended(flat)}; {flat.hint(called.experiment)}")
    if round_ is None:
        return SkipReason(f"all {state.spec.rounds} rounds are done")
    if driven(experiment.home, experiment.name):  # asks the kernel: taking the lock, however briefly, could turn a driver away
        return SkipReason(f"{experiment.name} is being driven by another process")
    # A reopened round has a new opening and so a new key; a key that was used never launches again.
    run_key = f"{called.experiment}/{key(round_)}/{max(state.opening(round_), 0)}"
    before = next(iter(instance.get_runs(RunsFilter(tags={RUN_KEY: run_key}), limit=1)), None)
    if before is not None:
        return SkipReason(
            f"run {before.run_id} of round {key(round_)} ended as {before.status.value.lower()} without a decision: "
            f"look at it, then re-execute it here or `rondo run {called.experiment}`; either goes on where it stopped"
        )
    return RunRequest(run_key=run_key, partition_key=key(round_), tags={TAG: called.experiment, "rondo/round": key(round_)})


def in_flight(instance: DagsterInstance, called: "Names") -> DagsterRun | None:
    """A run that is queued or under way and touches the experiment, whoever launched it."""
    for run in instance.get_runs(RunsFilter(statuses=IN_FLIGHT)):
        if run.job_name == called.job or any(asset.path[0] == called.experiment for asset in run.asset_selection or ()):
            return run
    return None
