"""What is timed, on backends made of nothing: pieces, growth, bounds, and answers that change."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engine.generate import Backend, Params, backends
from engine.generate.asks import asked
from engine.generate.bench.measure import Task, measure
from engine.generate.rows import generations
from generate_tiny import prompts

TEXTS = [f"question {i}" for i in range(10)]
calls: list[list[tuple[str, int, int]]] = []


class Quick(Backend):
    """Says at once which answer it is; notes what it was asked."""

    needs_model = False
    broken = False

    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        wanted = asked(self.job, asks)
        calls.append([(*pair, sampler.max_tokens) for pair, sampler in zip(wanted.pairs, wanted.samplers, strict=True)])
        texts = [f"{sample} {len(calls) if self.broken else ''}" for _, sample in wanted.pairs]
        n = len(texts)
        yield generations(self.job, wanted, texts, seconds=0.1, models=["m"] * n, response_tokens=[5] * n)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    calls.clear()
    kinds: dict[str, type[Backend]] = {"quick": Quick}
    kinds["own-order"] = type("Scheduling", (Quick,), {"schedules": True})
    kinds["fickle"] = type("Fickle", (Quick,), {"broken": True})
    for name, kind in kinds.items():
        monkeypatch.setitem(backends._methods, name, kind)


def task(folder: Path, backend: str, **changed: Any) -> Task:
    table = prompts(TEXTS).select(["prompt_id", "messages"])
    with pa.OSFile(str(folder / "prompts.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    given = {
        "folder": str(folder),
        "backend": backend,
        "params": {},
        "sampler": {"temperature": 1.0, "max_tokens": 30},
        "samples": 4,
        "chat": None,
        "model": None,
        "device": {"device": "cpu", "threads": 1, "dtype": "float32"},
        "seed": 3,
        "round": 0,
        "trust_remote_code": False,
        "spec_path": "spec.yaml",
        "keep_tokens": False,
        "batch": 8,
        "flight": 8,
        "seconds": 0.3,
        "repeats": 3,
    }
    return Task(**{**given, **changed})


def told(what: Task) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    measure(what, found.append)
    return found


def test_it_starts_with_a_token_warms_up_and_times_whole_batches(tmp_path: Path, named: None) -> None:
    start, warm, repeat, done = told(task(tmp_path, "quick"))
    assert start["start"] > 0 and start["whole"] is False and warm == {"warm": True}
    assert [len(call) for call in calls[:2]] == [1, 8] and calls[0][0][2] == 1 and {one[2] for one in calls[1]} == {8}
    assert {len(call) for call in calls[2:]} == {8} and {one[2] for call in calls[2:] for one in call} == {30}
    assert repeat["repeat"]["answers"] == 8 * len(calls[2:]) and repeat["repeat"]["tokens"] == 5 * repeat["repeat"]["answers"]
    assert done["changed"] == 0 and {sample for _, sample, _ in done["answers"]} == {0, 1, 2, 3}
    assert not list(tmp_path.glob("journal-*"))


def test_all_repeats_are_made_at_once_where_starting_takes_longer(tmp_path: Path, named: None) -> None:
    found = told(task(tmp_path, "quick", seconds=1e-9))
    assert found[0]["whole"] is True and sum("repeat" in one for one in found) == 3


def test_a_backend_with_its_own_order_gets_growing_pieces_and_the_largest_counts(tmp_path: Path, named: None) -> None:
    found = told(task(tmp_path, "own-order"))
    sizes = [len(call) for call in calls[2:]]
    assert sizes[:3] == [8, 16, 32] and max(sizes) == 40 == len(TEXTS) * 4
    assert found[2]["repeat"]["answers"] == 40 * sizes.count(40)


@pytest.mark.parametrize("most", [8, 20, 24, 40])
def test_a_server_gets_no_more_than_what_was_announced(tmp_path: Path, named: None, most: int) -> None:
    told(task(tmp_path, "own-order", most=most))
    assert len(calls[0]) == 1 and sum(len(call) for call in calls[1:]) <= most  # and it is not warmed up
    assert calls[1:]


def test_an_answer_that_comes_otherwise_the_second_time_is_counted(tmp_path: Path, named: None) -> None:
    assert told(task(tmp_path, "fickle", seconds=2.0))[-1]["changed"] > 0


def test_the_task_makes_the_job_of_a_run(tmp_path: Path, named: None) -> None:
    job = task(tmp_path, "quick", model=("d", "/m")).job()
    assert job.step == "generations" and job.model and (job.model.digest, job.model.path) == ("d", Path("/m"))
    assert (job.seed, job.samples, job.sampler.max_tokens, job.device.dtype) == (3, 4, 30, "float32")
    assert isinstance(job.params, Params) and {field.name for field in dataclasses.fields(job)} >= {"seed", "actor"}
