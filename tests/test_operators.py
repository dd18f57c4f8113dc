"""The local executor: counts, journal, resume."""

from pathlib import Path

import pyarrow as pa
import pytest

from engine import operators
from engine.errors import StepError
from engine.step import Silent


class Doubler:
    """Two rows out for each row in; counts what it was given; dies on demand."""

    def __init__(self, seen: list[str], die_at: str | None = None) -> None:
        self.seen, self.die_at = seen, die_at

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        names = batch.column("id").to_pylist()
        if self.die_at in names:
            raise KeyboardInterrupt
        self.seen += names
        return pa.RecordBatch.from_pydict({"id": [n for n in names for _ in (0, 1)], "half": [h for _ in names for h in (0, 1)]})


ROWS = pa.table({"id": [f"r{i:02d}" for i in range(25)]})


def go(make: object, folder: Path, batch: int = 4, **more: object) -> pa.Table:
    return operators.run(make, ROWS, key="id", batch=batch, journal=folder, progress=Silent(), label="double", per_row=2, **more)  # type: ignore[arg-type]


def test_a_killed_step_goes_on_where_it_was(tmp_path: Path) -> None:
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        go(lambda: Doubler(seen, "r13"), tmp_path)
    assert len(seen) == 12
    (tmp_path / "0000000012.123.partial").write_bytes(b"half a batch")
    result = go(lambda: Doubler(seen), tmp_path)
    assert sorted(seen) == ROWS["id"].to_pylist() and result.num_rows == 50


def test_another_batch_size_after_a_crash_loses_and_repeats_nothing(tmp_path: Path) -> None:
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        go(lambda: Doubler(seen, "r13"), tmp_path)
    assert go(lambda: Doubler(seen), tmp_path, batch=7).num_rows == 50
    assert sorted(seen) == ROWS["id"].to_pylist()


def test_a_whole_journal_loads_nothing(tmp_path: Path) -> None:
    first = go(lambda: Doubler([]), tmp_path)
    again = go(lambda: pytest.fail("the operator was made"), tmp_path)
    assert again.equals(first)


def test_rows_of_the_journal_that_are_no_longer_asked_for_are_left_out(tmp_path: Path) -> None:
    go(lambda: Doubler([]), tmp_path)
    some = ROWS.slice(6, 3)
    again = operators.run(
        lambda: pytest.fail("the operator was made"),
        some,
        key="id",
        batch=4,
        journal=tmp_path,
        progress=Silent(),
        label="double",
        per_row=2,
    )
    assert again["id"].to_pylist() == [name for name in some["id"].to_pylist() for _ in (0, 1)]


def test_order_puts_rows_together_and_loses_none(tmp_path: Path) -> None:
    result = go(lambda: Doubler([]), tmp_path, order=list(range(24, -1, -1)))
    assert result["id"][0].as_py() == "r24" and set(result["id"].to_pylist()) == set(ROWS["id"].to_pylist())


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.slice(1),
        lambda b: b.take(pa.array([0, 0, *range(1, b.num_rows)])),
        lambda b: b.set_column(0, "id", pa.array(["other"] * b.num_rows)),
    ],
)
def test_a_lost_doubled_or_invented_row_fails(tmp_path: Path, change: object) -> None:
    with pytest.raises(StepError):
        go(lambda: lambda batch: change(Doubler([])(batch)), tmp_path)  # type: ignore[operator]
    assert not list(tmp_path.glob("*.arrow"))
