"""Takes answers from files that another system wrote: the backend `recorded`.

A row of the files is one answer or a list of answers to one prompt. It finds its prompt by id, by messages, or by text:
all contents joined by newlines, or the last user message alone. Answers are taken in the order of the files.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
from pydantic import Field

from engine import datafiles
from engine.errors import DataError
from engine.generate import POLICY, Backend, Job, Params, backends
from engine.generate.asks import asked
from engine.generate.rows import generations
from engine.ids import content_id, prompt_id
from engine.registry import nearest

SHOWN = 5


class RecordedParams(Params):
    """Which files, and which column is what."""

    path: str | list[str] = Field(description="JSONL, Parquet or CSV files, or a Hugging Face dataset folder, with answers")
    prompt: str = Field("prompt", description="column with the prompt: its text, or its list of {role, content}")
    prompt_id: str | None = Field(None, description="column with Rondo's prompt id; replaces `prompt`")
    response: str = Field("response", description="column with the answer, or a list of answers")
    actor: str | None = Field(None, description="column with who answered; none: policy")
    model: str | None = Field(None, description="column with the model's name; none: recorded")
    missing: Literal["error", "skip"] = Field("error", description="what a prompt with too few answers means")


class Recorded(NamedTuple):
    """One answer of the files."""

    response: str
    actor: str
    model: str


@backends.register("recorded")
class RecordedBackend(Backend):
    """Reads the files once; as many answers a prompt as are asked, in the order of the files."""

    revision = 1
    needs_model = False
    uses_sampler = False
    Params = RecordedParams

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._params: RecordedParams = job.params

    @classmethod
    def settings(cls, params: RecordedParams, spec_path: Path) -> dict[str, Any]:
        """The columns and the digests of the files; where the files lie does not matter."""
        digests = datafiles.digest(params.path, spec_path.parent)
        return {**params.model_dump(mode="json", exclude={"path"}), "files": list(digests.values())}

    @classmethod
    def check(cls, params: RecordedParams, spec_path: Path) -> None:
        """Reads every row of the files."""
        _read(params, spec_path)

    @cached_property
    def _answers(self) -> dict[str, list[Recorded]]:
        return _read(self._params, self.job.spec_path)

    def _found(self, prompt: str, messages: list[dict[str, Any]]) -> list[Recorded]:
        users = [m["content"] for m in messages if m["role"] == "user"]
        texts = ["\n".join(m["content"] for m in messages), *users[-1:]]
        keys = [f"id:{prompt}", *(f"text:{text.strip()}" for text in texts)]
        return next((self._answers[key] for key in keys if key in self._answers), [])

    def prepare(self, prompts: pa.Table) -> pa.Table:
        """The prompts with enough answers. DataError that names the others, unless `missing: skip`."""
        keep, short, unused, most = [], [], 0, asked(self.job, prompts).counts
        for prompt, messages, samples in zip(prompts["prompt_id"].to_pylist(), prompts["messages"].to_pylist(), most, strict=True):
            count = len(self._found(prompt, messages))
            keep.append(count >= samples)
            unused += max(0, count - samples) if count >= samples else count
            if count < samples:
                short.append(f"{prompt} ({count}): {messages[-1]['content']!r:.60}")
        if short and (self._params.missing == "error" or not any(keep)):
            shown = "\n  ".join(short[:SHOWN]) + (f"\n  and {len(short) - SHOWN} more" if len(short) > SHOWN else "")
            raise DataError(
                f"{len(short)} of {len(keep)} prompts have fewer than {_span(most)} recorded answers:\n  {shown}",
                where=str(self._params.path),
                hint="lower `samples`, add answers, or set params.missing: skip in the spec",
            )
        self.detail = {"prompts_skipped": len(short), "answers_unused": unused}
        return prompts.filter(pa.array(keep, pa.bool_()))

    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The recorded answers of a batch."""
        yield self._answered(asks)

    def _answered(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        began, asks = time.perf_counter(), asked(self.job, batch)
        known = zip(batch.column("prompt_id").to_pylist(), batch.column("messages").to_pylist(), strict=True)
        found = {prompt: self._found(prompt, messages) for prompt, messages in known}
        taken = [found[prompt][sample] for prompt, sample in zip(asks.prompts, asks.samples, strict=True)]
        return generations(
            self.job,
            asks,
            [answer.response for answer in taken],
            seconds=time.perf_counter() - began,
            actors=[answer.actor for answer in taken],
            models=[answer.model for answer in taken],
            sources=[f"{answer.model}/{content_id(answer.response)}" for answer in taken],
        )


def _read(params: RecordedParams, spec_path: Path) -> dict[str, list[Recorded]]:
    """Answers by prompt id ('id:...') or by text ('text:...')."""
    found = defaultdict[str, list[Recorded]](list)
    rows = datafiles.read(params.path, spec_path.parent)
    for column in (params.prompt_id or params.prompt, params.response, params.actor, params.model):
        if column is not None and column not in rows.columns:
            raise DataError(
                f"no column {column!r} in the recorded answers; columns: {', '.join(rows.columns)}",
                where=rows.place(0),
                hint=f"name it in generate.params; {nearest(column, rows.columns)}",
            )
    for index, row in enumerate(rows.rows):
        place = rows.place(index)
        actor = _name(row, params.actor, POLICY, place)
        model = _name(row, params.model, "recorded", place)
        texts = _responses(row.get(params.response), params.response, place)
        found[_key(params, row, place)].extend(Recorded(text, actor, model) for text in texts)
    return found


def _key(params: RecordedParams, row: dict[str, Any], place: str) -> str:
    column = params.prompt_id or params.prompt
    value = row.get(column)
    if isinstance(value, str) and value.strip():
        return f"id:{value}" if params.prompt_id else f"text:{value.strip()}"
    if not params.prompt_id and isinstance(value, list) and value and all(map(_is_message, value)):
        return f"id:{prompt_id(value)}"
    kind = "a prompt id" if params.prompt_id else "text or a list of {role, content}"
    raise DataError(f"column {column!r}: expected {kind}, found {value!r:.80}", where=place)


def _span(counts: list[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)


def _responses(value: Any, column: str, place: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(v, str) for v in values):
        raise DataError(f"column {column!r}: expected an answer or a list of answers, found {value!r:.80}", where=place)
    return values


def _name(row: dict[str, Any], column: str | None, default: str, place: str) -> str:
    value = default if column is None else row.get(column)
    if not isinstance(value, str) or not value:
        raise DataError(f"column {column!r}: expected a name, found {value!r:.80}", where=place)
    return value
