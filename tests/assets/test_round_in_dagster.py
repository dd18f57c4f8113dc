"""A round materialised by Dagster's in-process executor: the same tables as headless, metadata, guards, the gate's check."""

from collections.abc import Callable

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult, asset
from dagster import materialize as dagster_materialize

from assets import definitions as location
from assets.resources import LogProgress
from engine.experiment import Experiment
from engine.home import Home
from engine.locks import Lock
from engine.rounds import DEVICE, OPENING


def run_round(home: Home, instance: DagsterInstance, partition: str) -> ExecuteInProcessResult:
    """The experiment's job on one partition."""
    instance.add_dynamic_partitions("rounds_tiny-loop", [partition])
    job = location.of(home).resolve_job_def("tiny_loop_round")
    return job.execute_in_process(partition_key=partition, instance=instance, raise_on_error=False)


def shown(result: ExecuteInProcessResult) -> dict[str, dict]:
    """Metadata of each asset that was materialised, with the data version."""
    found = {}
    for event in result.get_asset_materialization_events():
        one = event.materialization
        values = {name: value.value for name, value in one.metadata.items()}
        found[one.asset_key.path[1]] = values | {"version": one.tags["dagster/data_version"]}
    return found


def hashes(home: Home) -> dict[tuple[int, str], str]:
    """Content hash of every step in the lake."""
    entries = Experiment.load("tiny-loop", home=home).state().entries
    return {key: entry.content_hash for key, entry in entries.items() if key[1] not in (OPENING, DEVICE)}


def failure(result: ExecuteInProcessResult, step: str) -> str:
    """What the failed asset says."""
    return result.failure_data_for_node(f"tiny_loop__{step}").user_failure_data.description


def test_a_round_in_dagster_gives_the_tables_of_a_headless_one(home: Home, headless_home, instance: DagsterInstance) -> None:
    for partition in ("base", "000"):
        result = run_round(home, instance, partition)
        assert result.success
    made = shown(result)
    assert made["heldout"]["state"] == "skipped" and made["heldout"]["version"] == "skipped"
    assert made["generations"]["dagster/partition_row_count"] == 12 and "Answer:" in made["generations"]["preview"]
    assert [c.name for c in made["generations"]["dagster/column_schema"].columns][:4] == ["experiment", "round", "part", "generation_id"]
    for step in ("score", "evaluation", "promotion"):
        assert made[step]["plot"].startswith("![plot](data:image/png;base64,iVBOR")
    assert made["promotion"]["decision"] == "promoted"
    assert {step: row["version"] for step, row in made.items() if row["state"] != "skipped"} == {
        step: value for (round_, step), value in hashes(home).items() if round_ == 0
    }
    assert hashes(home) == hashes(Home(headless_home))
    (check,) = result.get_asset_check_evaluations()
    assert check.passed and check.check_name == "gate" and "round 000 promoted" in check.description
    assert instance.has_dynamic_partition("rounds_tiny-loop", "001")


def test_a_done_round_runs_nothing(ran: Home, instance: DagsterInstance) -> None:
    before = Experiment.load("tiny-loop", home=ran).lake.versions()
    made = shown(run_round(ran, instance, "000"))
    assert {row["state"] for row in made.values()} == {"unchanged", "skipped"}
    assert Experiment.load("tiny-loop", home=ran).lake.versions() == before


def test_a_round_cannot_run_before_the_one_it_builds_on(home: Home, instance: DagsterInstance) -> None:
    result = run_round(home, instance, "001")
    assert not result.success
    assert "round 001 of tiny-loop cannot run before round base is decided" in failure(result, "policy")
    assert hashes(home) == {}


def test_a_round_that_the_spec_does_not_have_is_refused(ran: Home, rewrite: Callable, instance: DagsterInstance) -> None:
    rewrite(rounds=1)
    assert "has the rounds base to 000, not 001" in failure(run_round(ran, instance, "001"), "policy")


def test_a_held_checkpoint_is_written_and_stops_the_next_round(ran: Home, rewrite: Callable, instance: DagsterInstance) -> None:
    rewrite(condition="min: 2.0")
    result = run_round(ran, instance, "001")
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed and check.severity.value == "ERROR" and "round 001 held: not mean 1 >= 2" in check.description
    assert Experiment.load("tiny-loop", home=ran).state().stopped() is not None
    rewrite(rounds=3, condition="min: 2.0")
    assert "held at the gate" in failure(run_round(ran, instance, "002"), "policy")


def test_an_asset_waits_for_another_driver(ran: Home, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.resources.WAIT", 0.2)
    with Lock(ran.locks, "tiny-loop", "another"):
        assert "is being driven by" in failure(run_round(ran, instance, "001"), "policy")


def test_progress_goes_to_the_log(instance: DagsterInstance) -> None:
    @asset
    def one(context) -> None:
        progress = LogProgress(context.log, every=0.0)
        progress.begin("generations", 100, done=20)
        progress.advance(40)
        progress.note("  a line")
        progress.end()

    result = dagster_materialize([one], instance=instance)
    lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert "generations: 100 rows, 20 of them from the journal" in lines and "a line" in lines
    assert any(line.startswith("generations: 60 of 100 rows, ") and line.endswith("s left") for line in lines)
