"""JSON lines that survive a crash: every place of tearing, garbage, a full disk, and how often the disk itself is reached."""

import errno
import os
from itertools import pairwise
from pathlib import Path

import pytest

from engine import lines
from engine.errors import LakeError
from engine.lines import Lines
from full_disk import largest_file

ROWS = [{"id": i, "text": text, "list": [i, None, 0.5]} for i, text in enumerate(["plain", "two\nlines", "é \u2028 \x00", "", '"{}"'])]


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with Lines(path) as log:
        log.append(rows)


def test_what_is_appended_is_read_whatever_stands_in_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder" / "log.jsonl"
    assert Lines(path).read() == [] and not path.parent.exists()
    with Lines(path) as log:
        log.append(ROWS[:2])
        assert log.read() == ROWS[:2], "readable while it is open"
        log.append(iter(ROWS[2:]))
        log.append([])
    assert Lines(path).read() == ROWS
    assert path.read_bytes().count(b"\n") == len(ROWS)


def test_a_file_torn_at_any_byte_keeps_its_whole_lines_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, ROWS)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n")
        assert Lines(path).read() == ROWS[:kept]
        write(path, ROWS[kept:])
        assert path.read_bytes() == whole


def test_reading_a_torn_file_does_not_change_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"id":0}\n{"id":')
    with Lines(path) as log:
        assert log.read() == [{"id": 0}]
    assert path.read_bytes() == b'{"id":0}\n{"id":'


@pytest.mark.parametrize("garbage", [b"{'id': 1}", b"", b'{"id": 1', b"\xff\xfe", b"\x00" * 20, b"[1]", b"3", b"null"])
def test_garbage_in_the_middle_names_its_line(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"id":0}\n{"id":1}\n' + garbage + b'\n{"id":3}\n')
    with pytest.raises(LakeError, match="cannot read the journal") as caught:
        Lines(path).read()
    assert caught.value.where == f"{path}:3"
    assert "remove" in caught.value.hint
    path.write_bytes(b'{"id":0}\n{"id":1}\n' + garbage)
    assert len(Lines(path).read()) == 2, "the same at the end is a torn tail"


def test_a_file_that_cannot_be_read_or_made_is_an_error_of_the_lake(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="cannot read the journal"):
        Lines(tmp_path).read()
    (tmp_path / "file").write_text("x")
    with pytest.raises(LakeError, match="cannot write the journal") as caught:
        write(tmp_path / "file" / "log.jsonl", ROWS)
    assert caught.value.where == str(tmp_path / "file" / "log.jsonl")


def test_a_full_disk_says_so_and_nothing_that_was_written_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, ROWS[:1])
    with Lines(path) as log:
        with largest_file(path.stat().st_size + 20), pytest.raises(LakeError, match="cannot write the journal") as caught:
            log.append(ROWS[1:])
        assert caught.value.where == str(path) and "free space" in caught.value.hint
        assert log.read() == ROWS[:1]
        log.append(ROWS[1:])  # there is space again: half a line that was written must not stay in the middle
    assert Lines(path).read() == ROWS


def test_a_full_disk_is_told_as_such_out_of_the_block_too(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with largest_file(20), pytest.raises(LakeError, match="cannot write the journal"):  # noqa: SIM117
        with Lines(path) as log:
            log.append(ROWS)
    assert Lines(path).read() == []
    write(path, ROWS)
    assert Lines(path).read() == ROWS


def test_the_disk_itself_is_reached_at_most_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, synced = [1000.0], list[float]()
    monkeypatch.setattr(lines.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(lines.os, "fsync", lambda number: synced.append(now[0]))
    with Lines(tmp_path / "log.jsonl") as log:
        for _ in range(100):
            log.append(ROWS[:1])
            now[0] += 0.1
    assert 9 <= len(synced) <= 10
    assert min(after - before for before, after in pairwise(synced)) >= lines.SYNC
    assert len(Lines(tmp_path / "log.jsonl").read()) == 100


def test_a_disk_that_fails_to_sync_is_an_error_of_the_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(lines.os, "fsync", full)
    with pytest.raises(LakeError, match="Input/output error"):
        write(tmp_path / "log.jsonl", ROWS)
