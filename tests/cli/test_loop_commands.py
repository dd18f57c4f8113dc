"""run, status, plan, promote, rollback, fork: what they print, what they change, and how they end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from engine.home import Home
from engine.lake import Lake
from engine.locks import Lock

Rondo = Callable[..., Result]


def steps(home: Home) -> dict[tuple[int, str], str]:
    """Every step's attempt: it changes when a step runs again."""
    rows = Lake(home.lake).read("steps", columns=["step", "attempt"]).to_pylist()
    return {(row["round"], row["step"]): row["attempt"] for row in rows}


def test_the_last_screen_has_the_rounds_and_three_commands_that_work(ran: Home, rondo: Rondo) -> None:
    screen = (ran.root / "screen.txt").read_text()
    assert [line.split()[0] for line in screen.splitlines() if re.match(r"(base|\d{3}) +\d* .*closed", line)] == ["base", "000", "001"]
    tried = [line.strip().removeprefix("rondo ").split() for line in screen.splitlines() if line.startswith("  rondo ")]
    assert len(tried) == 3
    for words in tried:
        assert rondo(*words).exit_code == 0


def test_a_second_run_starts_no_step(ran: Home, rondo: Rondo) -> None:
    before = {name: Lake(ran.lake).version(name) for name in ("steps", "generations", "checkpoints", "promotions")}
    result = rondo("run", "tiny", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0 and found["steps"] == [] and found["state"] == "done"
    assert {name: Lake(ran.lake).version(name) for name in before} == before


def test_status_counts_what_the_rounds_did(ran: Home, rondo: Rondo) -> None:
    found = json.loads(rondo("status", "tiny", "--json").stdout)
    assert [row["round"] for row in found["rounds"]] == ["base", "000", "001"] and found["state"] == "done"
    first = found["rounds"][1]
    assert (first["prompts"], first["answers"], first["pass_rate"], first["kept"]) == (6, 12, 0.5, 6)
    assert (first["decision"], first["state"], first["drift"]) == ("promoted", "closed", [])
    assert found["rounds"][2]["policy_in"] == first["policy_out"] == first["policy_out"]
    assert first["policy_in"] == found["rounds"][0]["policy_out"] != first["policy_out"]
    assert first["test"] == 1.0
    assert "tiny" in rondo("status").stdout
    every = json.loads(rondo("status", "--json").stdout)
    assert [(row["experiment"], row["state"], row["rounds"], row["planned"]) for row in every] == [("tiny", "done", 2, 2)]


def test_an_empty_home_says_how_to_begin(home: Home, rondo: Rondo) -> None:
    assert "rondo init" in rondo("status").stdout
    result = rondo("status", "nothing")
    assert result.exit_code == 2 and "rondo init" in result.stderr and not home.root.exists()


def test_a_broken_yaml_does_not_hide_the_others(ran: Home, rondo: Rondo) -> None:
    (ran.experiments / "broken.yaml").write_text("experiment: broken\nrounds: many\n")
    rows = {row["experiment"]: row for row in json.loads(rondo("status", "--json").stdout)}
    assert rows["tiny"]["state"] == "done" and rows["broken"]["state"] == "broken" and "broken.yaml:2: rounds" in rows["broken"]["note"]


def test_a_changed_selection_runs_nothing_by_itself_and_shows_as_drift(ran: Home, rondo: Rondo) -> None:
    before = steps(ran)
    spec = ran.experiments / "tiny.yaml"
    spec.write_text(spec.read_text().replace("params: {top: 1}", "params: {top: 2, min_score: 0.0}"))
    assert rondo("run", "tiny").exit_code == 0 and steps(ran) == before
    found = json.loads(rondo("status", "tiny", "--json").stdout)
    assert [[d.split(":")[0] for d in row["drift"]] for row in found["rounds"]] == [[], ["selected"], ["selected"]]
    assert "rondo run tiny --from 000" in rondo("status", "tiny").stdout
    lines = json.loads(rondo("plan", "tiny", "--from", "1", "--json").stdout)
    runs = {line["step"]: line["why"] for line in lines if line["round"] == "001" and line["state"] == "runs"}
    assert set(runs) == {"selected"} and "top: 1 -> 2" in runs["selected"]
    assert rondo("run", "tiny", "--from", "1").exit_code == 0
    again = {step for (round_, step), attempt in steps(ran).items() if round_ == 1 and before[round_, step] != attempt}
    assert {"selected", "checkpoint"} <= again and not {"prompts", "generations", "score"} & again
    assert all(steps(ran)[key] == attempt for key, attempt in before.items() if key[0] < 1)


def test_plan_of_a_new_experiment_and_of_a_finished_one(home: Home, ran: Home, rondo: Rondo) -> None:
    assert "0 steps to run" in rondo("plan", "tiny").stdout
    text = (ran.experiments / "tiny.yaml").read_text()
    (ran.experiments / "other.yaml").write_text(text.replace("experiment: tiny", "experiment: other").replace("seed: 3", "seed: 4"))
    lines = json.loads(rondo("plan", "other", "--json").stdout)
    first = {line["step"]: line for line in lines if line["round"] == "base"}
    assert first["heldout"]["state"] == "copies" and first["heldout"]["why"] == "equal to tiny/base"
    later = {line["step"]: line for line in lines if line["round"] == "000"}
    assert later["generations"]["state"] == "waits" and later["generations"]["rows"] == 12 and later["generations"]["seconds"] > 0


def test_the_gate_stops_a_run_and_a_person_overrides_it(ran: Home, rondo: Rondo) -> None:
    hard = ["rounds=3", "gate.require=[{metric: mean, min: 2.0}]"]
    stopped = rondo("run", "tiny", *hard)
    assert stopped.exit_code == 3 and "round 2 was held" in stopped.stderr and "mean 1 >= 2" in stopped.stderr
    spec = ran.experiments / "tiny.yaml"
    spec.write_text(spec.read_text().replace("rounds: 2", "rounds: 4").replace("min_delta: 0.0", "min: 2.0"))
    before = steps(ran)
    assert rondo("run", "tiny").exit_code == 3 and steps(ran) == before
    found = json.loads(rondo("status", "tiny", "--json").stdout)
    assert found["state"] == "stopped" and found["rounds"][-1]["state"] == "stopped" and "rondo promote tiny@002" in found["advice"][1]
    assert rondo("promote", "tiny@2", "--reason", "looks good").exit_code == 2
    done = json.loads(rondo("promote", "tiny@2", "--force", "--reason", "looks good", "--json").stdout)
    assert (done["decision"], done["effective_round"], done["reason"]) == ("forced", 3, "looks good")
    back = rondo("rollback", "tiny@base", "--reason", "no")
    assert back.exit_code == 0 and "rolled_back" in back.stdout
    base = json.loads(rondo("status", "tiny", "--json").stdout)["rounds"][0]["policy_out"]
    assert json.loads(rondo("run", "tiny", "--json", "--until", "3").stdout)["rounds"][-1]["policy_in"] == base


def test_a_fork_has_the_rounds_and_goes_on_alone(ran: Home, rondo: Rondo) -> None:
    result = rondo("fork", "tiny@0", "branch")
    assert result.exit_code == 0 and (ran.experiments / "branch.yaml").is_file()
    found = json.loads(rondo("status", "branch", "--json").stdout)
    assert [row["state"] for row in found["rounds"]] == ["closed", "closed"] and found["state"] == "open"
    assert rondo("fork", "tiny@7", "x").exit_code == 1 and not (ran.experiments / "x.yaml").exists()
    assert "expected EXPERIMENT@ROUND" in rondo("fork", "tiny", "x").stderr


def test_an_experiment_run_from_elsewhere_is_known_by_name(ran: Home, rondo: Rondo, tmp_path: Path) -> None:
    ran.experiments.rename(tmp_path / "elsewhere")
    assert rondo("run", tmp_path / "elsewhere" / "tiny.yaml", "rounds=3").exit_code == 0
    found = json.loads(rondo("status", "tiny", "--json").stdout)
    assert (found["state"], found["planned"], found["path"]) == ("done", 2, str(tmp_path / "elsewhere" / "tiny.yaml"))
    (tmp_path / "elsewhere" / "tiny.yaml").unlink()
    found = json.loads(rondo("status", "tiny", "--json").stdout)
    assert (found["state"], found["planned"]) == ("done", 3)
    refused = rondo("run", "tiny")
    assert refused.exit_code == 2 and "file that is gone" in refused.stderr


@pytest.mark.parametrize(
    "words, told",
    [
        (("run", "tiny", "generate.sampels=3"), "did you mean 'samples'?"),
        (("run", "tiny", "--from", "9"), "has the rounds base and 0 to 1"),
        (("run", "tiny", "--from", "x"), "'x' is not a round"),
        (("run", "tyni"), "did you mean 'tiny'?"),
        (("run", "tiny", "seed"), "expected key.sub=value"),
        (("promote", "tiny@5", "--force", "--reason", "r"), "round 005 of tiny has no decision"),
        (("rollback", "tiny@1@2", "--reason", "r"), "tiny@1"),
    ],
)
def test_mistakes_are_told_and_change_nothing(ran: Home, rondo: Rondo, words: tuple[str, ...], told: str) -> None:
    before = Lake(ran.lake).versions()
    result = rondo(*words)
    assert result.exit_code in (1, 2) and told in result.stderr and "Traceback" not in result.output
    assert Lake(ran.lake).versions() == before


def test_a_driven_experiment_is_refused_with_code_4(ran: Home, rondo: Rondo) -> None:
    with Lock(ran.locks, "tiny", "other"):
        result = rondo("run", "tiny")
    assert result.exit_code == 4 and "is being driven by" in result.stderr


def test_ctrl_c_ends_with_130_and_the_next_run_goes_on(ran: Home, rondo: Rondo) -> None:
    command = [sys.executable, "-m", "engine.cli", "run", "tiny", "rounds=3", "generate.samples=1"]
    folder = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stderr is not None and child.stdout is not None
        for line in child.stderr:
            if "score " in line:  # the checkpoint comes next: loading the trainer takes seconds
                break
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        out, told = child.stdout.read(), child.stderr.read()
        # where Ctrl-C meets an exec() of text, CPython ends by the signal itself in the end: 130 in a shell all the same
        assert child.wait(60) in (130, -signal.SIGINT), told
    assert "rondo run tiny` goes on" in out
    assert rondo("run", "tiny", "rounds=3", "generate.samples=1").exit_code == 0
