"""One spec -> its assets, job, gate check, sensor and schedule. The graph is the recipe's own (`engine.graph.union`)."""

# No `from __future__ import annotations`: Dagster reads the annotations of the functions below when they are decorated.
from dataclasses import dataclass

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    DataVersion,
    Definitions,
    DynamicPartitionsDefinition,
    Failure,
    MaterializeResult,
    asset,
    define_asset_job,
    in_process_executor,
)

from assets import automation, checks, metadata
from assets.resources import LogProgress, Rondo
from engine.errors import RondoError, StepError, Stopped
from engine.experiment import Experiment, key, parse_round
from engine.graph import union
from engine.report.status import ended
from engine.rounds import State
from engine.run import Done, Driver
from engine.step import BASE, Step

SKIPPED = "skipped"  # data version of a step that a round does not have


@dataclass(frozen=True)
class Names:
    """How one experiment is called in Dagster, whose own names take only letters, digits and '_'."""

    experiment: str
    path: str

    @property
    def plain(self) -> str:
        """Group, job, sensor and schedule are made of this."""
        return self.experiment.replace("-", "_")

    @property
    def job(self) -> str:
        """The job that runs one round."""
        return f"{self.plain}_round"

    @property
    def partitions(self) -> DynamicPartitionsDefinition:
        """The rounds of the experiment: base, 000, 001, ..."""
        return DynamicPartitionsDefinition(name=f"rounds_{self.experiment}")

    def asset(self, step: str) -> AssetKey:
        """The asset of a step."""
        return AssetKey([self.experiment, step])


def names(experiment: Experiment) -> Names:
    """The Dagster names of an experiment."""
    return Names(experiment.name, str(experiment.path))


def definitions(experiment: Experiment) -> Definitions:
    """Everything that Dagster shows of one experiment. SpecError where its steps do not fit together."""
    called = names(experiment)
    steps, edges = union(experiment.spec, experiment.path)
    assets = [_asset(called, step, edges[name]) for name, step in steps.items()]
    job = define_asset_job(
        called.job,
        selection=AssetSelection.assets(*(called.asset(name) for name in steps)),
        executor_def=in_process_executor,
        tags={automation.TAG: called.experiment},
        description=f"One round of {called.experiment}: every step in order; what is already done is not computed again.",
    )
    return Definitions(
        assets=assets,
        asset_checks=[checks.gate(called.asset("promotion"), called.path)],
        jobs=[job],
        sensors=[automation.sensor(called, frozenset(steps))],
        schedules=[automation.schedule(called, frozenset(steps))],
    )


def _asset(called: Names, step: Step, upstream: set[str]) -> AssetsDefinition:
    name = step.name

    @asset(
        key=called.asset(name),
        deps=[called.asset(other) for other in sorted(upstream)],
        group_name=called.plain,
        partitions_def=called.partitions,
        code_version=str(step.revision),
        description=(step.__class__.__doc__ or name).strip(),
        metadata={"table": f"{step.table}/{step.part}" if step.table else "none", "spec": called.path},
    )
    def run(context: AssetExecutionContext, rondo: Rondo) -> MaterializeResult:
        try:
            experiment, driver = rondo.drive(called.path, LogProgress(context.log))
            done = perform(driver, parse_round(context.partition_key), name)
            _say_next(context, called, driver.state())
            version = done.entry.content_hash if done.entry else SKIPPED
            return MaterializeResult(metadata=metadata.of(done, experiment), data_version=DataVersion(version))
        except RondoError as error:
            # The same input fails again, so a retry of Dagster's would only repeat the message.
            raise Failure(description=str(error), allow_retries=False) from error

    return run


def _say_next(context: AssetExecutionContext, called: Names, state: State) -> None:
    """Adds the partition of the round that may run next, so that it can be chosen in the UI without the sensor."""
    if context.assets_def.key == called.asset("promotion"):
        following = state.next_round()
        if following is not None:
            context.instance.add_dynamic_partitions(f"rounds_{called.experiment}", [key(following)])


def perform(driver: Driver, round_: int, step: str) -> Done:
    """Brings one step of a round up to date, as `rondo run` would.

    Raises Stopped or StepError where the round may not run yet, and what the step raises.
    """
    state = driver.state()
    permit(state, round_)
    if not state.closed(round_):
        driver.open(round_)
    return driver.step(round_, step)


def permit(state: State, round_: int) -> None:
    """Raises unless the round is closed (nothing will run) or the one that comes next: rounds build on each other."""
    if state.closed(round_):
        return
    name, held, following = state.spec.experiment, state.stopped(), state.next_round()
    if held is not None:
        raise Stopped(
            f"{name}: round {key(held.round)} was held at the gate ({held.reason}), and gate.on_fail is stop",
            hint=f"`rondo promote {name}@{held.round} --force --reason ...` or `rondo rollback {name}`",
        )
    if not BASE <= round_ < state.spec.rounds:
        raise StepError(f"{name} has the rounds base to {key(state.spec.rounds - 1)}, not {key(round_)}", hint="raise `rounds` in the spec")
    flat = state.flat()
    if flat is not None:
        raise StepError(ended(flat), hint=flat.hint(name))
    if round_ != following:
        assert following is not None
        raise StepError(
            f"round {key(round_)} of {name} cannot run before round {key(following)} is decided",
            hint=f"materialize the partition {key(following)} first",
        )
