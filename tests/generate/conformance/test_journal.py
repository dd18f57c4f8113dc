"""Every backend through the driver: a journal torn anywhere, answers that nobody asks for any more, backends that cheat."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from engine.errors import DataError, StepError
from engine.generate import drive
from engine.generate.asks import asked, with_samples
from generate.conformance.asking import answered, count, driven, plain
from generate.conformance.rigs import Rig

CUTS = 8


def test_a_journal_torn_at_any_byte_ends_as_the_whole_one(rig: Rig, tmp_path: Path) -> None:
    dice, file = random.Random(4), tmp_path / drive.FILE
    with rig.opened() as backend:
        whole = plain(driven(backend, rig.asks(), tmp_path))
        wanted, text = asked(backend.job, rig.asks()).pairs, file.read_bytes()
        assert len(text.splitlines()) == len(whole)
        calls = count(backend)
        for _ in range(CUTS):
            cut = dice.randrange(len(text))
            file.write_bytes(text[:cut])
            calls.clear()
            assert plain(driven(backend, rig.asks(), tmp_path)) == whole
            assert sum(map(len, calls)) == len(wanted) - text[:cut].count(b"\n"), "only what is missing is asked"
        calls.clear()
        assert plain(driven(backend, rig.asks(), tmp_path)) == whole and not calls


def test_answers_that_are_no_longer_asked_are_left_out(rig: Rig, tmp_path: Path) -> None:
    with rig.opened() as backend:
        whole = driven(backend, rig.asks(), tmp_path)
        calls = count(backend)
        fewer = with_samples(rig.asks().slice(3, 4), [[0]] * 4)
        left = {(row["prompt_id"], 0) for row in fewer.to_pylist()}
        assert driven(backend, fewer, tmp_path) == [row for row in whole if (row["prompt_id"], row["sample"]) in left]
        assert not calls


def lost(rows: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return [*rows[:-1], rows[-1].slice(1)]


def doubled(rows: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return [*rows, rows[0].slice(0, 1)]


def invented(rows: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    one = rows[0].slice(0, 1)
    return [*rows, one.set_column(one.schema.get_field_index("sample"), "sample", pa.array([99]))]


@pytest.mark.parametrize(("change", "words"), [(lost, "never came"), (doubled, "came twice"), (invented, "answer 99 to prompt")])
def test_a_lost_doubled_or_invented_answer_is_caught(rig: Rig, tmp_path: Path, change: Callable, words: str) -> None:
    with rig.opened() as backend:
        generate = backend.generate

        def cheating(asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
            yield from change(list(generate(asks)))

        backend.generate = cheating  # type: ignore[method-assign]
        with pytest.raises(StepError, match=words):
            driven(backend, rig.asks(), tmp_path)
        backend.generate = generate  # type: ignore[method-assign]
        assert plain(driven(backend, rig.asks(), tmp_path)) == plain(answered(backend, rig.asks()))


def test_a_prompt_that_cannot_be_answered_is_an_error_that_names_it(rig: Rig, tmp_path: Path) -> None:
    assert rig.unanswerable
    for number, (text, words, params) in enumerate(rig.unanswerable):
        asks = rig.asks([rig.known, text])
        with rig.opened(params=params) as backend, pytest.raises((DataError, StepError)) as caught:
            driven(backend, asks, tmp_path / str(number))
        assert words in str(caught.value) and asks["prompt_id"][1].as_py() in str(caught.value)


def test_close_may_be_called_twice_and_before_any_work(rig: Rig) -> None:
    with rig.opened() as backend:
        backend.close()
        backend.close()
    with rig.opened() as backend:
        answered(backend, rig.asks().slice(0, 2))
        backend.close()
        backend.close()
