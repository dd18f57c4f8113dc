"""The stop rule in a run: it ends the experiment, is kept in the lake, and lets it go on where a person says so."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import flat_home
from engine.cli import app
from engine.errors import SpecError
from engine.report.plan import plan
from engine.report.status import status
from engine.step import BASE


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home where the experiment ended after round 2 of 5."""
    folder = tmp_path_factory.mktemp("flat")
    flat_home.write(folder)
    flat_home.load(folder).run()
    yield folder


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    shutil.copytree(finished, tmp_path / "home")
    return tmp_path / "home"


def rondo(home: Path, *words: str) -> tuple[int, str]:
    """Exit code and output of a command."""
    result = CliRunner().invoke(app, [*words, "--home", str(home)], catch_exceptions=False)
    return result.exit_code, result.output


def test_it_ends_when_the_gain_left_is_small(finished: Path) -> None:
    state = flat_home.load(finished).state()
    assert (state.undecided(), state.next_round(), state.stopped()) == (3, None, None)
    flat = state.flat()
    assert flat is not None and flat.round == 2
    assert flat.why == "mean 0.85 at 16 rows: asymptote 0.9, predicted gain 0.05 <= tau 0.06, in 1 of 1 rounds"
    assert {r: "stop" in e.detail for (r, s), e in state.entries.items() if s == "promotion"} == {BASE: False, 0: True, 1: True, 2: True}


def test_the_verdicts_are_rows(finished: Path) -> None:
    rows = flat_home.load(finished).sql("select * from lake.predicted_gain order by round").pl().to_dicts()
    assert [(r["round"], r["metric"], r["x"], r["value"], r["ends"]) for r in rows] == [
        (0, "mean", 4.0, 0.7, False),
        (1, "mean", 8.0, 0.8, False),
        (2, "mean", 16.0, 0.85, True),
    ]
    assert rows[2]["asymptote"] == pytest.approx(0.9) and rows[2]["gain"] == pytest.approx(0.05) and rows[0]["gain"] is None
    assert rows[0]["why"].endswith("1 of 3 points")


def test_run_status_and_plan_agree_and_launch_nothing(home: Path) -> None:
    before = flat_home.load(home).lake.versions()
    code, text = rondo(home, "run", "flat")
    assert code == 0 and "the learning curve has flattened at round 002: mean 0.85" in text and "--from 3" in text
    assert json.loads(rondo(home, "run", "flat", "--json")[1])["flat"].startswith("mean 0.85")
    code, text = rondo(home, "status", "flat")
    assert code == 0 and "predicted gain 0.05 <= tau 0.06" in text and "goes on with" not in text
    found = status(flat_home.load(home))
    assert found.state == "done" and len(found.rounds) == 4
    lines = plan(flat_home.load(home))
    assert [(line.round, line.state) for line in lines] == [(r, "closed") for r in range(BASE, 3)] + [(3, "stopped"), (4, "stopped")]
    assert flat_home.load(home).lake.versions() == before


def test_a_smaller_tau_goes_on(home: Path) -> None:
    experiment = flat_home.load(home, "stop.tau=0.04")
    assert experiment.state().next_round() == 3, "the verdict was made with another tau"
    assert {v.step for r in range(BASE, 3) for v in experiment.state().drift(r)} == set(), "the rounds are what they were"
    done = experiment.run()
    assert {d.round for d in done} == {3} and experiment.state().flat().round == 3
    assert "0.875 at 32 rows" in experiment.state().flat().why


def test_without_stop_it_runs_to_the_end(home: Path) -> None:
    code, text = rondo(home, "run", "flat", "stop=null")
    state = flat_home.load(home, "stop=null").state()
    assert code == 0 and "flattened" not in text and state.next_round() is None and state.undecided() is None
    assert flat_home.load(home).state().flat() is None, "all rounds are done: nothing is left to stop"


def test_a_round_that_is_asked_for_runs_and_is_judged_again(home: Path) -> None:
    experiment = flat_home.load(home)
    assert next(line.state for line in plan(experiment, first=3) if line.round == 3) in ("runs", "waits")
    done = experiment.run(first=3)
    assert {d.round for d in done} == {3}
    assert experiment.state().flat().round == 3


def test_reopening_an_earlier_round_judges_anew(home: Path) -> None:
    experiment = flat_home.load(home)
    experiment.run(first=1, until=1)
    state = experiment.state()
    assert state.flat() is None and state.next_round() == 2
    rows = experiment.sql("select round from lake.predicted_gain order by round").fetchall()
    assert rows == [(0,), (1,)], "the verdict of the round that waits does not count"
    experiment.run()
    assert experiment.state().flat().round == 2


def test_an_opened_round_is_finished_after_a_crash(home: Path) -> None:
    experiment = flat_home.load(home)
    with experiment.driver() as driver:
        driver.open(3, bump=True)
        driver.step(3, "policy")
    assert experiment.state().next_round() == 3
    assert {d.round for d in experiment.run()} == {3}


@pytest.mark.slow
def test_a_fork_ends_where_its_source_did_and_goes_on_with_another_rule(home: Path) -> None:
    forked = flat_home.load(home).fork(2, "branch")
    assert forked.state().flat().round == 2 and forked.run() == []
    assert flat_home.load(home, "stop=null", name="branch").state().next_round() == 3
    early = flat_home.load(home).fork(1, "early")
    assert early.state().next_round() == 2


@pytest.mark.parametrize(
    "change, told",
    [
        ("stop.metric=pass@1", "stop.metric: 'pass@1' is not in evaluate.metrics"),
        ("stop.metrik=mean", "did you mean 'metric'"),
        ("prompts.gate=null", "`stop` follows a metric of the gate split"),
        ("stop.min_points=2", "stop.min_points"),
    ],
)
def test_a_rule_that_cannot_work_is_told_before_any_work(tmp_path: Path, change: str, told: str) -> None:
    flat_home.write(tmp_path)
    with pytest.raises(SpecError, match=told.replace("(", r"\(")):
        flat_home.load(tmp_path, change)
