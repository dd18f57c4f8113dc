"""The lake: atomic replacement of parts, versions, content hashes, errors, writers and readers in other processes."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from engine.errors import LakeError, SchemaError
from engine.lake import CONFIGURATION, Lake
from engine.rows import content_hash, own_columns, partitioned
from engine.tables import PARTITION, TABLES, check


def scores(n: int, value: float = 1.0, scorer: str = "math") -> pa.Table:
    """`n` rows of the scores table, all with one value."""
    return pa.table(
        {
            "item_id": [f"{i:016x}" for i in range(n)],
            "item_kind": ["generation"] * n,
            "prompt_id": ["p"] * n,
            "scorer": [scorer] * n,
            "scorer_version": ["1"] * n,
            "value": [value] * n,
            "seconds": [0.1 * i for i in range(n)],
        }
    )


def test_replace_touches_only_its_own_part(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    for experiment, round_, part in [
        ("a", 0, "rollout/math"),
        ("a", 0, "rollout/score"),
        ("a", 1, "rollout/math"),
        ("b", 0, "rollout/math"),
    ]:
        lake.replace("scores", scores(3), experiment=experiment, round=round_, part=part)
    lake.replace("scores", scores(2, 0.0), experiment="a", round=0, part="rollout/math")
    assert lake.read("scores", experiment="a", rounds=[0], part="rollout/math")["value"].to_pylist() == [0.0, 0.0]
    assert lake.read("scores").num_rows == 11
    assert lake.read("scores", part="rollout/*", experiment="a").num_rows == 8


def test_an_empty_part_replaces_a_full_one(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    lake.replace("scores", scores(3), experiment="a", round=0, part="x")
    lake.replace("scores", scores(0), experiment="a", round=0, part="x")
    assert lake.read("scores").num_rows == 0


def test_old_versions_stay_readable(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    versions = [lake.replace("scores", scores(n), experiment="a", round=0, part="x") for n in range(1, 6)]
    assert [lake.read("scores", version=v).num_rows for v in versions] == [1, 2, 3, 4, 5]
    with pytest.raises(LakeError, match="scores"):
        lake.read("scores", version=99)


def test_content_hash_ignores_order_and_clocks_but_not_values_or_repeats() -> None:
    rows = scores(5)
    clocks = rows.set_column(rows.schema.get_field_index("seconds"), "seconds", pa.array([9.0] * 5))
    same = content_hash("scores", rows)
    assert content_hash("scores", rows.take([4, 2, 0, 1, 3])) == same
    assert content_hash("scores", clocks) == same
    assert content_hash("scores", scores(5, 0.5)) != same
    assert content_hash("scores", rows.take([0, 1, 2, 3, 3])) != content_hash("scores", rows.take([0, 1, 2, 3, 2]))


def test_rows_that_do_not_fit_are_named(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    with pytest.raises(SchemaError, match="scores needs column 'scorer'"):
        lake.replace("scores", scores(2).drop_columns(["scorer"]), experiment="a", round=0, part="x")
    with pytest.raises(SchemaError, match=r"no column.*colour"):
        lake.replace("scores", scores(1).append_column("colour", pa.array(["red"])), experiment="a", round=0, part="x")
    with pytest.raises(SchemaError, match="stands 2 times"):
        lake.replace("scores", scores(2).take([0, 0]), experiment="a", round=0, part="x")
    broken = scores(2).set_column(0, "item_id", pa.array(["x", None]))
    with pytest.raises(SchemaError, match="column item_id, row 1"):
        lake.replace("scores", broken, experiment="a", round=0, part="x")
    assert lake.version("scores") == -1


def _rewrite(root: str, experiment: str, times: int) -> None:
    lake = Lake(root)
    for n in range(times):
        lake.replace("scores", scores(50, float(n)), experiment=experiment, round=0, part="x")


def test_a_reader_never_sees_a_torn_part(tmp_path: Path) -> None:
    _rewrite(str(tmp_path), "a", 1)
    writer = multiprocessing.get_context("spawn").Process(target=_rewrite, args=(str(tmp_path), "a", 100))
    writer.start()
    lake, reads = Lake(str(tmp_path)), 0
    while writer.is_alive() or reads == 0:
        values = lake.read("scores", experiment="a")["value"].to_pylist()
        assert len(values) == 50 and len(set(values)) == 1
        reads += 1
    writer.join()
    assert writer.exitcode == 0 and lake.read("scores")["value"].to_pylist() == [99.0] * 50 and reads > 10


def test_four_writers_lose_nothing(tmp_path: Path) -> None:
    writers = [multiprocessing.get_context("spawn").Process(target=_rewrite, args=(str(tmp_path), name, 15)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    rows = own_columns(Lake(str(tmp_path)).read("scores"))
    assert rows.num_rows == 200 and set(rows["value"].to_pylist()) == {14.0}


READ_ONLY = """
import os, sys
from test_lake import scores
from engine.errors import LakeError
from engine.lake import Lake
lake = Lake(sys.argv[1])
print(lake.read("scores").num_rows, "rows")
if os.getuid() == 0:  # root writes anywhere, so become somebody else
    os.setgid(65534)
    os.setuid(65534)
try:
    lake.replace("scores", scores(1), experiment="a", round=0, part="x")
except LakeError as error:
    print(error)
"""


def test_a_read_only_lake_is_an_error_that_names_it(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    lake.replace("scores", scores(3), experiment="a", round=0, part="x")
    folders = [tmp_path / "lake", *(f for f in (tmp_path / "lake").rglob("*") if f.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    for folder in tmp_path.parents:
        if any(part.startswith("pytest") for part in folder.parts):  # pytest's own folders are closed to other users
            folder.chmod(0o711)
    tmp_path.chmod(0o711)
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parent.parent}"}
    found = subprocess.run([sys.executable, "-c", READ_ONLY, str(tmp_path / "lake")], capture_output=True, text=True, env=environment)
    for folder in folders:
        folder.chmod(0o755)
    assert "3 rows" in found.stdout and "cannot write table scores" in found.stdout, found.stderr
    assert lake.read("scores").num_rows == 3


def test_a_lake_of_an_earlier_release_takes_the_columns_that_were_added_since(tmp_path: Path) -> None:
    lake, new = Lake(str(tmp_path / "lake")), ["cache_key", "runner", "prompt_tokens", "response_tokens"]
    old = [field for field in TABLES["scores"].schema if field.name not in new]
    rows = partitioned(check("scores", scores(3)), "e", 0, "rollout/math").select([field.name for field in old])
    Path(lake.path("scores").removeprefix("file://")).mkdir(parents=True)
    write_deltalake(lake.path("scores"), rows, partition_by=PARTITION.names, configuration=CONFIGURATION)
    lake.replace("scores", scores(2).append_column("cache_key", pa.array(["k"] * 2)), experiment="e", round=1, part="rollout/math")
    assert lake.read("scores", rounds=[0])["cache_key"].to_pylist() == [None] * 3
    assert lake.read("scores", rounds=[1])["cache_key"].to_pylist() == ["k"] * 2
    lake.replace("scores", scores(1), experiment="e", round=0, part="rollout/math")
    assert lake.read("scores").num_rows == 3
