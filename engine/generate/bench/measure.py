"""Times a backend in this process: loading, then repeats of bounded length over answers that the round would ask."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from engine.generate import Backend, Job, backends, drive, params
from engine.generate.asks import Pair, asked, batches, with_samples
from engine.generate.bench import Repeat
from engine.randomness import shuffled
from engine.spec import Sampler
from engine.step import Device, Model, Silent

WARM = 8  # tokens an answer of the batch that is not timed
Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Task:
    """What a process measures. `seconds` a repeat; `repeats` of them where starting takes longer than two, else one.

    `flight`: answers that are in flight at once, the first piece that is timed. `most`: answers of a repeat at most, for servers
    that cost (None: as many as fit into the time). `folder` holds prompts.arrow and takes journals.
    """

    folder: str
    backend: str
    params: dict[str, Any]
    sampler: dict[str, Any]
    samples: int
    chat: bool | None
    model: tuple[str, str] | None
    device: dict[str, Any]
    seed: int
    round: int
    trust_remote_code: bool
    spec_path: str
    keep_tokens: bool
    batch: int | Literal["auto"]
    flight: int
    seconds: float
    repeats: int
    most: int | None = None

    def job(self) -> Job:
        """As the step `generations` makes it, so that answers are those of a run."""
        return Job(
            params=params(self.backend, self.params, "generate.params"),
            sampler=Sampler(**self.sampler),
            samples=self.samples,
            chat=self.chat,
            model=None if self.model is None else Model(self.model[0], Path(self.model[1])),
            device=Device(**self.device),
            seed=self.seed,
            round=self.round,
            step="generations",
            trust_remote_code=self.trust_remote_code,
            spec_path=Path(self.spec_path),
            keep_tokens=self.keep_tokens,
            batch=self.batch,
        )


@dataclass
class Seen:
    """Content ids of all answers so far, and how many came otherwise a second time."""

    answers: dict[Pair, str] = field(default_factory=dict)
    changed: int = 0

    def add(self, rows: pa.Table) -> None:
        """Takes rows of `generations`."""
        for prompt, sample, content in zip(*(rows[name].to_pylist() for name in ("prompt_id", "sample", "content_id")), strict=True):
            self.changed += self.answers.setdefault((prompt, sample), content) != content


def measure(task: Task, tell: Tell) -> None:
    """Tells `start` (seconds to the first token), a `repeat` each, then `done`. Raises what the backend raises."""
    began, folder = time.perf_counter(), Path(task.folder)
    backend = backends.load(task.backend)(task.job())
    try:
        with pa.OSFile(str(folder / "prompts.arrow")) as file:
            prompts = pa.ipc.open_file(file).read_all()
        columns = ["prompt_id", "messages", *(name for name in backend.reads if name not in ("prompt_id", "messages"))]
        asks = backend.prepare(with_samples(prompts.select(columns), [range(task.samples)] * prompts.num_rows))
        first = with_samples(asks.slice(asks.num_rows - 1), [[0]])
        _drain(backend, _short(first, 1))
        start = time.perf_counter() - began
        whole = start > 2 * task.seconds and task.repeats > 1
        tell({"start": start, "whole": whole})
        if task.most is None:  # what a server is asked may cost
            _drain(backend, _short(_pieces(backend, asks, task)[0], min(WARM, task.job().sampler.max_tokens)))
            tell({"warm": True})
        seen = Seen()
        for _ in range(task.repeats if whole else 1):
            tell({"repeat": vars(_repeat(backend, asks, task, seen))})
        found = [[prompt, sample, content] for (prompt, sample), content in seen.answers.items()]
        gpu, memory = _gpu(task.device["device"]), _peak()
        tell({"done": True, "answers": found, "changed": seen.changed, "detail": backend.detail, "gpu": gpu, "memory": memory})
    finally:
        backend.close()


def _short(asks: pa.Table, tokens: int) -> pa.Table:
    """The same asks, with answers of at most `tokens`."""
    return asks.append_column("max_tokens", pa.array([tokens] * asks.num_rows, pa.int64()))


def _drain(backend: Backend, asks: pa.Table) -> None:
    for _ in backend.generate(asks.combine_chunks().to_batches()[0]):
        pass


def _pieces(backend: Backend, asks: pa.Table, task: Task) -> list[pa.Table]:
    """What is timed at once: the batches of a run, in an order by lot, so that those that fit into the time stand for all."""
    counts, found, start = asked(backend.job, asks).counts, [], 0
    for size in batches(counts, task.flight):
        found.append(asks.slice(start, size))
        start += size
    return [found[i] for i in shuffled(0, 0, "bench", [str(i) for i in range(len(found))])]


def _repeat(backend: Backend, asks: pa.Table, task: Task, seen: Seen) -> Repeat:
    """Answers as many pieces as begin within the time, at least one.

    A backend that schedules its requests itself gets ever larger pieces, and the largest counts: at the start and the end of a
    piece it is not full.
    """
    began, done = time.perf_counter(), list[tuple[int, Repeat]]()
    for number, (size, piece) in enumerate(_growing(backend, asks, task) if backend.schedules else _turns(backend, asks, task)):
        left = task.seconds - (time.perf_counter() - began)
        slow = done and (left <= 0 or (size > done[-1][0] and left < 2 * done[-1][1].seconds))
        full = task.most is not None and sum(one.answers for _, one in done) + size > task.most
        if slow or (done and full):
            break
        done.append((size, _timed(backend, piece, task, seen, number)))
    best = [one for size, one in done if size == max(size for size, _ in done)]
    tokens = None if any(one.tokens is None for one in best) else sum(one.tokens or 0 for one in best)
    return Repeat(sum(one.answers for one in best), tokens, sum(one.seconds for one in best))


def _turns(backend: Backend, asks: pa.Table, task: Task) -> Iterator[tuple[int, pa.Table]]:
    """(0, batch), again and again."""
    found = _pieces(backend, asks, task)
    return ((0, found[i % len(found)]) for i in count())


def _growing(backend: Backend, asks: pa.Table, task: Task) -> Iterator[tuple[int, pa.Table]]:
    """(answers, prompts with about so many, evenly from all), twice as many each time, then all of them again and again."""
    total = len(asked(backend.job, asks).samples)
    size = min(total, task.flight)
    while True:
        rows = max(1, asks.num_rows * size // total)
        yield size, asks.take(pa.array([i * asks.num_rows // rows for i in range(rows)], pa.int64()))
        size = min(total, 2 * size)


def _timed(backend: Backend, piece: pa.Table, task: Task, seen: Seen, number: int) -> Repeat:
    """One piece, as a step sends it, journal included."""
    journal, began = Path(task.folder) / f"journal-{number}", time.perf_counter()
    rows = drive.answers(backend, piece, batch=task.flight, journal=journal, progress=Silent(), label="bench")
    seconds = time.perf_counter() - began
    shutil.rmtree(journal)
    seen.add(rows)
    tokens = rows["response_tokens"]
    return Repeat(rows.num_rows, None if tokens.null_count else pc.sum(tokens).as_py(), seconds)


def _peak() -> int | None:
    """Most bytes that this process had resident; None where the system does not say. (ru_maxrss would count the parent's.)"""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _gpu(device: str) -> int | None:
    """Bytes on the GPU: the most that torch reserved in this process, or where a backend works in processes of its own all that is
    taken of the device now. None without one."""
    if not device.startswith("cuda"):
        return None
    import torch

    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_reserved(device)
    free, total = torch.cuda.mem_get_info(device)
    return total - free
