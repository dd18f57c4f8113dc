"""The driver of backends: every asked answer once, whatever the backend does and wherever its journal is torn."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from engine import tables
from engine.errors import LakeError, StepError
from engine.generate import Backend, Job, drive
from engine.generate.asks import Pair, asked, with_samples
from engine.generate.rows import generations
from generate.stub_backend import Stub, Yields, pieces, rows
from generate_tiny import Notes, prompts


def asks(n: int = 9) -> pa.Table:
    """Three answers to each of n prompts."""
    return prompts([f"{i}?" for i in range(n)]).select(["prompt_id", "messages"])


def go(backend: Backend, wanted: pa.Table, folder: Path, batch: int = 6, notes: Notes | None = None) -> list[dict]:
    found = drive.answers(backend, wanted, batch=batch, journal=folder, progress=notes or Notes(), label="test")
    assert found.schema == tables.TABLES["generations"].columns
    return sorted(found.to_pylist(), key=lambda row: (row["prompt_id"], row["sample"]))


def expected(wanted: pa.Table) -> list[dict]:
    stub = Stub()
    whole = rows(stub.job, wanted.combine_chunks().to_batches()[0])
    return sorted(whole.to_pylist(), key=lambda row: (row["prompt_id"], row["sample"]))


@pytest.mark.parametrize("schedules", [False, True])
@pytest.mark.parametrize("made", [pieces(10**6), pieces(1, seed=1), pieces(4, seed=2)])
def test_each_answer_comes_once_in_whatever_pieces(tmp_path: Path, made: Yields, schedules: bool) -> None:
    wanted, notes, stub = asks(), Notes(), Stub(made, schedules)
    assert go(stub, wanted, tmp_path, notes=notes) == expected(wanted)
    assert notes.rows == 27
    assert [len(call) for call in stub.calls] == ([27] if schedules else [6, 6, 6, 6, 3])
    assert len((tmp_path / drive.FILE).read_bytes().splitlines()) == 27


def test_a_prompt_with_more_answers_than_a_batch_is_asked_whole(tmp_path: Path) -> None:
    stub = Stub(samples=4)
    go(stub, asks(3), tmp_path, batch=3)
    assert [len(call) for call in stub.calls] == [4, 4, 4]


def test_rows_of_one_prompt_with_other_numbers_and_settings(tmp_path: Path) -> None:
    base = prompts(["a", "b", "a", "c"]).select(["prompt_id", "messages"])
    wanted = with_samples(base, [[0, 3], [1], [2, 9], [4]]).append_column("temperature", pa.array([0.5, 1.0, 0.25, None]))
    found = go(Stub(), wanted, tmp_path)
    ids = base["prompt_id"].to_pylist()
    assert {(row["prompt_id"], row["sample"], row["response"].split()[-1]) for row in found} == {
        *((ids[0], 0, "0.5"), (ids[0], 3, "0.5"), (ids[1], 1, "1.0"), (ids[0], 2, "0.25"), (ids[0], 9, "0.25"), (ids[3], 4, "1.0")),
    }
    torn(tmp_path, 3)
    again = Stub()
    assert go(again, wanted, tmp_path) == found
    assert len(again.pairs) == 3


def torn(folder: Path, kept: int, of_next: float = 0.5) -> list[Pair]:
    """Leaves `kept` lines of the journal and a piece of the next; returns what is left."""
    file = folder / drive.FILE
    lines = file.read_bytes().splitlines(keepends=True)
    tail = lines[kept][: int(len(lines[kept]) * of_next)] if kept < len(lines) else b""
    file.write_bytes(b"".join(lines[:kept]) + tail)
    return [(row["prompt_id"], row["sample"]) for row in map(json.loads, lines[:kept])]


@pytest.mark.parametrize("schedules", [False, True])
def test_a_journal_torn_at_any_line_asks_only_what_is_missing(tmp_path: Path, schedules: bool) -> None:
    wanted = asks(4)
    whole = expected(wanted)
    go(Stub(pieces(2, seed=3), schedules), wanted, tmp_path)
    for kept in range(12, -1, -1):
        left = torn(tmp_path, kept, of_next=kept / 12)
        stub, notes = Stub(pieces(2, seed=kept), schedules), Notes()
        assert go(stub, wanted, tmp_path, notes=notes) == whole
        assert sorted([*left, *stub.pairs]) == sorted(asked(stub.job, wanted).pairs)
        assert notes.rows == 12 - kept
    assert len((tmp_path / drive.FILE).read_bytes().splitlines()) == 12


def test_a_whole_journal_asks_nothing(tmp_path: Path) -> None:
    first = go(Stub(), asks(), tmp_path)
    stub = Stub(lambda job, batch: pytest.fail("the backend was asked"))
    assert go(stub, asks(), tmp_path) == first and not stub.calls


def test_a_backend_that_fails_leaves_what_came(tmp_path: Path) -> None:
    def failing(job: Job, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield rows(job, batch).slice(0, 4)
        raise ValueError("the backend broke")

    with pytest.raises(ValueError, match="broke"):
        go(Stub(failing), asks(), tmp_path)
    stub = Stub()
    assert go(stub, asks(), tmp_path) == expected(asks())
    assert len(stub.pairs) == 27 - 4


def test_answers_that_are_no_longer_asked_are_left_out(tmp_path: Path) -> None:
    go(Stub(), asks(), tmp_path)
    fewer = with_samples(asks().slice(2, 3), [[0], [1, 2], [2, 5]])
    stub = Stub()
    assert go(stub, fewer, tmp_path) == expected(fewer)
    assert [sample for _, sample in stub.pairs] == [5]


def lost(job: Job, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    yield rows(job, batch).slice(1)


def doubled(job: Job, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    whole = rows(job, batch)
    yield whole
    yield whole.slice(whole.num_rows - 1)


def doubled_at_once(job: Job, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    whole = rows(job, batch)
    yield whole.take(pa.array([0, 0, *range(1, whole.num_rows)]))


def invented(job: Job, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    whole = rows(job, batch)
    yield whole.set_column(whole.schema.get_field_index("sample"), "sample", pa.array([40] * whole.num_rows))


def renamed(job: Job, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    whole = rows(job, batch)
    yield whole.set_column(whole.schema.get_field_index("prompt_id"), "prompt_id", pa.array(["another"] * whole.num_rows))


def silent(job: Job, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    yield from ()


@pytest.mark.parametrize("schedules", [False, True])
@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lost, "never came, such as number"),
        (silent, "27 never came"),
        (doubled, "came twice"),
        (doubled_at_once, "came twice"),
        (invented, "answer 40 to prompt"),
        (renamed, "prompt 'another'"),
    ],
)
def test_a_lost_doubled_or_invented_answer_is_caught(tmp_path: Path, made: Yields, words: str, schedules: bool) -> None:
    with pytest.raises(StepError, match=words):
        go(Stub(made, schedules), asks(), tmp_path)
    file = tmp_path / drive.FILE
    kept = [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []
    pairs = [(row["prompt_id"], row["sample"]) for row in kept]
    assert len(set(pairs)) == len(pairs), "a bad answer must not get into the journal"
    assert set(pairs) <= set(asked(Stub().job, asks()).pairs)
    assert go(Stub(), asks(), tmp_path) == expected(asks()), "a sound backend goes on from there"


def test_nothing_or_one_answer_twice_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="nothing to ask"):
        go(Stub(), asks(2).slice(0, 0), tmp_path)
    with pytest.raises(StepError, match="1 of 4 answers are asked twice"):
        go(Stub(), with_samples(prompts(["a", "a"]).select(["prompt_id", "messages"]), [[0, 1], [1, 2]]), tmp_path)
    assert not (tmp_path / drive.FILE).exists()


@pytest.mark.parametrize("change", ["{garbage", '{"prompt_id": "p"}', '{"sample": 0}', "[]"])
def test_a_spoiled_journal_is_an_error_that_names_the_file(tmp_path: Path, change: str) -> None:
    go(Stub(), asks(), tmp_path)
    file = tmp_path / drive.FILE
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:3], change, *lines[4:]]) + "\n")
    with pytest.raises(LakeError) as caught:
        go(Stub(), asks(), tmp_path)
    assert str(file) in caught.value.where and "remove this file" in caught.value.hint


def test_a_journal_with_columns_of_other_types_is_an_error(tmp_path: Path) -> None:
    go(Stub(), asks(), tmp_path)
    file = tmp_path / drive.FILE
    file.write_text(file.read_text().replace('"seconds":0.5', '"seconds":"long"'))
    with pytest.raises(LakeError, match="does not hold answers") as caught:
        go(Stub(), asks(), tmp_path)
    assert caught.value.where == str(file)


def test_an_answer_that_stands_twice_in_the_journal_is_caught(tmp_path: Path) -> None:
    go(Stub(), asks(), tmp_path)
    file = tmp_path / drive.FILE
    file.write_bytes(file.read_bytes() + file.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(StepError, match="came twice"):
        go(Stub(), asks(), tmp_path)


def test_every_column_survives_the_journal(tmp_path: Path) -> None:
    def full(job: Job, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        found = asked(job, batch)
        n = len(found.samples)
        yield generations(
            job,
            found,
            ["é \u2028\n\t\x00 \U0001f600" for _ in range(n)],
            seconds=[0.1 + 0.2] * n,
            models=["m"] * n,
            seeds=[2**62 + sample for sample in found.samples],
            logprob=[-1 / 3] * n,
            prompt_tokens=[7] * n,
            tokens=[[1, 2]] * n,
            token_logprobs=[[-0.1, -1e-17]] * n,
            meta=['{"a": "b"}'] * n,
            messages=[[{"role": "user", "content": "x"}]] * n,
        )

    first = go(Stub(full), asks(), tmp_path)
    assert go(Stub(lambda job, batch: pytest.fail("asked")), asks(), tmp_path) == first
    assert first[0]["logprob"] == -1 / 3 and first[0]["token_logprobs"] == [-0.1, -1e-17] and first[0]["seed"] == 2**62
