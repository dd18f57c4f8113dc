"""Arms of one experiment, merged each round: parents, lineage, garbage, a killed merge, and what a greedy soup tries."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import loop_home
from engine import gc, models
from engine.errors import SpecError
from engine.graph import union
from engine.report.lineage import lineage
from engine.report.plan import plan
from merge_small import ARM, arms

TESTS = Path(__file__).parents[1]
# A run that is killed in the second tensor of the first merge.
KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import loop_home
from pathlib import Path
from engine.merge import stream
one, calls = stream._one, []
def killed(*more):
    calls.append(1)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return one(*more)
stream._one = killed
loop_home.load(Path(sys.argv[2])).run(until=0)
"""


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("merged")
    loop_home.write(folder, arms({"method": "ties", "base": "previous", "params": {"density": 0.5}}))
    experiment = loop_home.load(folder)
    experiment.run()
    return experiment


def rows(experiment, round_: int, role: str) -> list[dict]:
    return experiment.lake.read("checkpoints", experiment="loop", rounds=[round_], part=role).to_pylist()


def test_the_policy_of_a_round_is_its_merge(merged):
    for round_ in (0, 1):
        (one,), (two,), (made,) = (rows(merged, round_, role) for role in ("arm-a", "arm-b", "policy"))
        policy = merged.state().entries[round_, "policy"].content_hash
        assert one["parents"] == two["parents"] == [policy]
        assert made["parents"] == [one["digest"], two["digest"], policy] and one["digest"] != two["digest"]
        assert (made["objective"], made["rows_trained"], made["rows_expected"], made["loss"]) == ("merge:ties", 0, 0, None)
        assert merged.checkpoint(round_).digest == made["digest"] == models.digest(merged.checkpoint(round_).path)
    assert merged.state().policy(2) in {made["digest"] for made in rows(merged, 1, "policy")} | {merged.state().policy(1)}
    assert rows(merged, 0, "policy")[0]["digest"] == merged.state().entries[1, "policy"].content_hash  # promoted, then trained on


def test_nothing_runs_twice(merged):
    assert {line.state for line in plan(merged)} == {"closed"}
    before = loop_home.attempts(merged.lake, "loop")
    merged.run()
    assert loop_home.attempts(merged.lake, "loop") == before
    steps, edges = union(merged.spec, merged.path)
    assert edges["checkpoint"] >= {"checkpoint_arm-a", "checkpoint_arm-b", "policy"} and steps["checkpoint"].table == "checkpoints"


def test_lineage_leads_through_the_parents(merged):
    found = merged.checkpoint(1).lineage()
    names = [column[0] for column in found.description]
    got = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    own = merged.lake.read("trained_rows", experiment="loop", rounds=[1]).to_pylist()
    assert {row["role"] for row in got} == {"arm-a", "arm-b"} and {row["digest"] for row in got} == {merged.checkpoint(1).digest}
    assert sum(row["times"] for row in got) == len(own) and {row["row_id"] for row in got} == {row["row_id"] for row in own}
    assert all(row["prompt_id"] and row["written_by"] == merged.checkpoint(0).digest for row in got)
    report = lineage("loop@1", merged.home)
    assert report.checkpoint["parents"] == rows(merged, 1, "policy")[0]["parents"] and report.summary["rows"] == len(own)


def test_garbage_leaves_parents_alone(merged):
    for path in merged.home.checkpoints.rglob("*"):
        os.utime(path, (0, 0))
    stray = merged.home.checkpoints / "stray"
    shutil.copytree(merged.checkpoint(0).path, stray)
    for path in (stray, *stray.iterdir()):
        os.utime(path, (0, 0))
    report = gc.collect(merged.home, merged.lake, hours=0)
    assert report.checkpoints == [str(stray)]
    for round_ in (0, 1):
        for role in ("arm-a", "arm-b", "policy"):
            assert (merged.home.root / rows(merged, round_, role)[0]["path"]).is_dir()


@pytest.mark.slow
def test_a_killed_merge_starts_again_to_the_same_model(merged, tmp_path):
    text = merged.path.read_text()
    loop_home.write(tmp_path, text)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(TESTS), str(tmp_path)], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    experiment = loop_home.load(tmp_path)
    assert (0, "checkpoint_arm-b") in experiment.state().entries and (0, "checkpoint") not in experiment.state().entries
    assert list((tmp_path / "journal" / "loop").glob("0-checkpoint-*/model"))
    experiment.run(until=0)
    assert experiment.checkpoint(0).digest == merged.checkpoint(0).digest
    assert not list((tmp_path / "journal" / "loop").glob("0-checkpoint-*"))


def test_a_greedy_soup_keeps_what_scores_no_less(tmp_path):
    loop_home.write(tmp_path, arms({"method": "greedy_soup", "of": ["arm-a", "arm-b", "previous"]}, rounds=1))
    experiment = loop_home.load(tmp_path)
    experiment.run()
    detail = experiment.state().entries[0, "checkpoint"].detail
    tried, soup = detail["tried"], detail["soup"]
    alone, joined = tried[:3], tried[3:]
    assert [one["score"] for one in alone] == sorted((one["score"] for one in alone), reverse=True)
    assert {one["of"][0] for one in alone} == {"arm-a", "arm-b", "previous"} and len(joined) == 2
    best, members = alone[0]["score"], [alone[0]["of"][0]]
    for one, candidate in zip(alone[1:], joined, strict=True):
        assert candidate["of"] == [*members, one["of"][0]] and candidate["kept"] == (candidate["score"] >= best)
        if candidate["kept"]:
            members, best = candidate["of"], candidate["score"]
    assert soup == members
    digests = {role: rows(experiment, 0, role)[0]["digest"] for role in ("arm-a", "arm-b")}
    digests["previous"] = experiment.checkpoint(-1).digest
    assert sorted(experiment.checkpoint(0).row["parents"]) == sorted(digests[name] for name in soup)
    # what the trial said is what the evaluation says: both answer the gate split greedily
    values = experiment.lake.read("evaluations", experiment="loop", rounds=[0]).to_pylist()
    mean = next(row["value"] for row in values if (row["suite"], row["metric"], row["topic"]) == ("gate", "mean", None))
    assert mean == pytest.approx(best)


@pytest.mark.slow
def test_a_merge_may_be_the_start_of_a_training(tmp_path):
    spec = yaml.safe_load(arms({"role": "start", "of": ["policy-1", "arm-a"], "weights": [0.25, 0.75]}, count=1))
    spec["train"].append(ARM | {"role": "policy", "init": "start", "select": {"sql": "select/random.sql", "params": {"per_prompt": 1}}})
    loop_home.write(tmp_path, yaml.safe_dump(spec))
    experiment = loop_home.load(tmp_path)
    experiment.run()
    for round_ in (0, 1):
        (made,) = rows(experiment, round_, "start")
        assert experiment.checkpoint(round_).row["parents"] == [made["digest"]]
        assert made["parents"] == [experiment.checkpoint(-1).digest, rows(experiment, round_, "arm-a")[0]["digest"]]


def test_specs_that_cannot_work(tmp_path):
    def refused(match: str, spec: str) -> None:
        loop_home.write(tmp_path, spec)
        with pytest.raises(SpecError, match=match):
            loop_home.load(tmp_path).run(until=-1)

    refused("the role 'arm-a' is trained and merged", arms({"role": "arm-a", "of": ["arm-b", "previous"]}))
    refused(r"merge \(policy\): no model 'arm-z'", arms({"of": ["arm-a", "arm-z"]}))
    refused("takes differences from a base", arms({"method": "ties"}))
    refused("no merge method 'soop'; did you mean|did you mean 'soup'", arms({"method": "soop"}))
    refused("compares its candidates by the experiment's scorers", arms({"method": "greedy_soup"}, score=[], combine=None))
