"""The step `pairs`: reference values of the model that is the reference now, rows of earlier rounds, and SIGKILL between two batches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import pairs_step
from engine.errors import SpecError, StepError
from engine.pairs import check
from engine.pairs.steps import PairsStep
from engine.step import Ref
from engine.train import references
from pairs_step import N, lake, models, run, spec_of

TESTS = Path(__file__).parents[1]
REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")


@pytest.fixture(scope="module")
def which(tmp_path_factory):
    return models(tmp_path_factory.mktemp("models"))


def test_reference_values_are_those_of_the_named_models(tmp_path, which):
    small = lake(tmp_path)
    under = {name: run(small, which, reference=name).select(REFERENCE).to_pydict() for name in ("previous", "base")}
    assert under["previous"] != under["base"] and all(value < 0 for one in under["base"].values() for value in one)
    mixed = run(small, which, reference={"base": 0.25, "previous": 0.75}).to_pylist()
    for i, row in enumerate(mixed):
        expected = 0.25 * under["base"]["ref_chosen_logps"][i] + 0.75 * under["previous"]["ref_chosen_logps"][i]
        assert row["ref_chosen_logps"] == pytest.approx(expected, abs=1e-9)
        extra = dict(row["extra"])
        assert extra["chosen_logps_base"] == under["base"]["ref_chosen_logps"][i]
        assert extra["rejected_logps_previous"] == under["previous"]["ref_rejected_logps"][i]
    asked = run(small, which, pairs={"logps": ["base"]}).to_pylist()
    assert [dict(row["extra"])["chosen_logps_base"] for row in asked] == under["base"]["ref_chosen_logps"]
    assert [row["ref_chosen_logps"] for row in asked] == under["previous"]["ref_chosen_logps"]


@pytest.mark.parametrize("data", ["last-1", "cumulative"])
def test_carried_pairs_get_the_values_of_the_new_reference(tmp_path, which, data):
    small = lake(tmp_path)
    old = run(small, which, reference="base")
    small.lake.replace("pairs", old, experiment="small", round=0, part="policy")
    lake(tmp_path, 1)
    found = run(small, which, 1, data=data).to_pylist()
    assert [row["source_round"] for row in found] == [1] * N + [0] * N
    carried = {row["row_id"]: row for row in found[N:]}
    now = {row["row_id"]: row for row in run(small, which, reference="previous").to_pylist()}
    for before in old.to_pylist():
        row = carried[before["row_id"]]
        assert {name: row[name] for name in row if name not in REFERENCE} == {name: before[name] for name in row if name not in REFERENCE}
        for name in REFERENCE:
            assert row[name] == now[before["row_id"]][name] != before[name]
    assert run(small, which, 1, data="round").num_rows == N


def test_a_killed_step_gives_the_same_table_and_asks_only_what_is_missing(tmp_path, monkeypatch):
    small, which, calls = lake(tmp_path / "small"), models(tmp_path), tmp_path / "calls.jsonl"
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "OMP_NUM_THREADS": "1"}
    code = [sys.executable, str(TESTS / "pairs_step.py"), str(tmp_path)]
    killed = subprocess.run(code, env=environment, capture_output=True, check=False, cwd=TESTS.parent)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert len(calls.read_text().splitlines()) == 3
    monkeypatch.setattr(references, "BATCH", 4)
    monkeypatch.setattr(references._Summing, "__call__", references._Summing.__call__)
    pairs_step.watched(calls)
    again = run(small, which, pairs={"logps": ["base"]})
    batches = [json.loads(line) for line in calls.read_text().splitlines()]
    counts = Counter(json.dumps(batch) for batch in batches)
    assert sorted(counts.values()) == [2, 2, 3]  # 12 sums, 4 at a time, under 2 models; only the batch that was killed stands once more
    other = lake(tmp_path / "other")
    assert again.equals(run(other, which, pairs={"logps": ["base"]}))


def test_no_pair_says_what_there_was(tmp_path, which):
    small = lake(tmp_path)
    with pytest.raises(StepError, match=r"pairs: the SQL made no pair: generations has 12 rows, scores has 24 rows"):
        run(small, which, pairs={"params": {"min_margin": 5.0}})


def test_what_the_step_reads_and_what_its_fingerprint_holds(tmp_path):
    own = spec_of(reference="base", data="last-2")
    step = PairsStep("policy", tmp_path / "spec.yaml")
    reads = step.reads(own, 3)
    assert {Ref("generations", "rollout"), Ref("prompts", "train"), Ref("pairs", "policy", "history")} <= set(reads)
    assert Ref("checkpoints", "policy", "base") in reads
    settings = step.settings(own, 3, tmp_path / "spec.yaml")
    for other in (spec_of(reference="previous", data="last-2"), spec_of(reference="base", data="round"), spec_of(mask="last")):
        assert step.settings(other, 3, tmp_path / "spec.yaml") != settings


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ({"params": {"scorer": "exakt"}}, "pairs.params.scorer: the spec has no scorer 'exakt'\n  next: did you mean 'exact'"),
        ({"sql": "pairs/soft_label.sql", "params": {"scorer": "rm"}}, "the spec has no scorer 'rm'"),
    ],
)
def test_a_parameter_that_names_nothing_stops_before_any_work(tmp_path, pairs, says):
    with pytest.raises(SpecError) as error:
        check(spec_of(pairs=pairs), tmp_path / "spec.yaml")
    assert says in str(error.value)
    check(spec_of(pairs={"params": {"scorer": "exact"}}), tmp_path / "spec.yaml")
