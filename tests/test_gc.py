"""rondo gc: what a checkpoint names still reads, what a driven experiment may use stays, the rest goes."""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from engine import gc
from engine.errors import LakeError
from engine.home import Home
from engine.lake import Lake
from engine.ledger import OPENING, Entry, Ledger
from engine.locks import Lock
from engine.tables import TABLES


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("RONDO_LAKE", raising=False)
    return Home(tmp_path)


def score(lake: Lake, value: int, experiment: str = "a", round_: int = 0) -> int:
    """Rewrites one part with three rows of `value`."""
    ids = [f"{value:08x}{i:08x}" for i in range(3)]
    rows = pa.table(
        {
            "item_id": ids,
            "item_kind": ["generation"] * 3,
            "prompt_id": ["p"] * 3,
            "scorer": ["m"] * 3,
            "scorer_version": ["1"] * 3,
            "value": [float(value)] * 3,
        }
    )
    return lake.replace("scores", rows, experiment=experiment, round=round_, part="rollout/m")


def checkpoint(lake: Lake, digest: str, inputs: object, round_: int = 0) -> None:
    row = {
        "digest": digest,
        "parents": [],
        "role": "policy",
        "path": f"checkpoints/{digest}",
        "objective": "sft",
        "rows_expected": 1,
        "rows_trained": 1,
        "tokens": 1,
        "steps": 1,
        "loss": 0.1,
        "seconds": 1.0,
        "inputs": json.dumps(inputs),
        "settings": "{}",
        "packages": "{}",
        "attempt": digest,
        "at": datetime.now(UTC),
    }
    rows = pa.Table.from_pylist([row], schema=TABLES["checkpoints"].columns)
    lake.replace("checkpoints", rows, experiment="a", round=round_, part="policy")


def aged(path: Path, hours: float) -> None:
    """Makes a file or a folder with all in it `hours` old."""
    then = time.time() - hours * 3600
    for one in [*path.rglob("*"), path]:
        os.utime(one, (then, then))


def parquet(home: Home) -> int:
    return len(list((home.root / "lake" / "scores").rglob("*.parquet")))


@pytest.mark.slow
def test_after_300_commits_every_named_version_reads(home: Home) -> None:
    lake = Lake(home.lake)
    versions = [score(lake, n, "ab"[n % 2], n % 3) for n in range(300)]
    kept = versions[5::37]
    for n, version in enumerate(kept):
        checkpoint(lake, f"c{n}", [{"versions": {"scores": version}}], round_=n)
    rows = {version: lake.read("scores", version=version).sort_by("item_id") for version in [*kept, versions[-1]]}
    before = parquet(home)
    report = gc.collect(home, lake, hours=0)
    assert report.files["scores"] > 200 and parquet(home) == before - report.files["scores"] and report.bytes > 0
    fresh = Lake(home.lake)
    for version, expected in rows.items():
        assert fresh.read("scores", version=version).sort_by("item_id") == expected
    assert fresh.read("scores").sort_by("item_id") == rows[versions[-1]]
    with pytest.raises(LakeError):
        fresh.read("scores", version=versions[100])
    again = gc.collect(home, lake, hours=0)
    assert again.files == {} and again.bytes == 0


def test_a_dry_run_removes_nothing_and_says_what_would_go(home: Home) -> None:
    lake = Lake(home.lake)
    for n in range(5):
        score(lake, n)
    before, version = parquet(home), lake.version("scores")
    report = gc.collect(home, lake, hours=0, dry_run=True)
    assert report.files == {"scores": 4} and report.bytes > 0
    assert parquet(home) == before and lake.version("scores") == version


def test_young_versions_stay(home: Home) -> None:
    lake = Lake(home.lake)
    versions = [score(lake, n) for n in range(4)]
    assert gc.collect(home, lake, hours=1).files == {}
    assert [lake.read("scores", version=v)["value"][0].as_py() for v in versions] == [0.0, 1.0, 2.0, 3.0]


def test_files_of_crashed_writers_go_once_nothing_is_driven(home: Home) -> None:
    lake = Lake(home.lake)
    score(lake, 1)
    live = next((home.root / "lake" / "scores").rglob("*.parquet"))
    old, young = live.with_name("old.parquet"), live.with_name("young.parquet")
    old.write_bytes(live.read_bytes())
    young.write_bytes(live.read_bytes())
    aged(old, 2)
    with Lock(home.locks, "other", "1"):
        report = gc.collect(home, lake, hours=0)
    assert old.exists() and any("other is being driven" in note for note in report.notes)
    gc.collect(home, lake, hours=0)
    assert not old.exists() and young.exists() and lake.read("scores").num_rows == 3


def test_a_driven_experiment_keeps_what_it_saw_when_it_opened(home: Home) -> None:
    lake = Lake(home.lake)
    Ledger(lake, "a").commit(Entry("a", 0, OPENING, "", (), "f", {"opening": 0, "spec": {}}, "h", "t", 0, 0, "done", 0.0))
    versions = [score(lake, n) for n in range(3)]
    (home.journal / "a" / "0-generations-f").mkdir(parents=True)
    aged(home.journal, 500)
    with Lock(home.locks, "a", "1"):
        gc.collect(home, lake, hours=0)
        assert [lake.read("scores", version=v).num_rows for v in versions] == [3, 3, 3]
        assert (home.journal / "a" / "0-generations-f").exists()
    gc.collect(home, lake, hours=0)
    assert not (home.journal / "a").exists()
    with pytest.raises(LakeError):
        lake.read("scores", version=versions[0])


def test_only_folders_that_no_row_names_go(home: Home) -> None:
    lake = Lake(home.lake)
    checkpoint(lake, "named", [])
    for name in ("named", "unnamed", "young"):
        (home.checkpoints / name).mkdir(parents=True)
        (home.checkpoints / name / "model.safetensors").write_bytes(b"x" * 1000)
    aged(home.checkpoints / "named", 2)
    aged(home.checkpoints / "unnamed", 2)
    report = gc.collect(home, lake, hours=0)
    assert [Path(p).name for p in report.checkpoints] == ["unnamed"] and report.bytes >= 1000
    assert sorted(p.name for p in home.checkpoints.iterdir()) == ["named", "young"]


def test_without_a_table_of_checkpoints_no_folder_is_touched(home: Home) -> None:
    (home.checkpoints / "c").mkdir(parents=True)
    aged(home.checkpoints, 500)
    report = gc.collect(home, Lake(home.lake), hours=0)
    assert (home.checkpoints / "c").exists() and any("no table of checkpoints" in note for note in report.notes)


def test_inputs_that_cannot_be_read_stop_everything(home: Home) -> None:
    lake = Lake(home.lake)
    versions = [score(lake, n) for n in range(3)]
    checkpoint(lake, "c", "not a list")
    with pytest.raises(LakeError, match="checkpoint c: its inputs cannot be read"):
        gc.collect(home, lake, hours=0)
    assert [lake.read("scores", version=v).num_rows for v in versions] == [3, 3, 3]
