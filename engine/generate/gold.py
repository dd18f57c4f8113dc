"""Gives a prompt's own gold answer as an answer of an actor: the backend `gold`.

Worked solutions that come with the prompts stand beside sampled answers in `generations`, are scored and selected like them, and
lead back from a checkpoint in the same way. Path and form are those of the macro gold_answer (sql/macros/gold_answer.sql).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from engine.errors import DataError, SpecError
from engine.generate import Backend, Job, Params, backends
from engine.generate.asks import asked
from engine.generate.rows import generations
from engine.generate.unanswered import Unanswered
from engine.ids import content_id

GOLD = "{gold}"
FOUND = """
    SELECT nullif(trim(if($path::VARCHAR IS NULL, reference, meta ->> $path::VARCHAR), concat(' ', chr(9), chr(10), chr(13))), '') AS gold
    FROM asks
    ORDER BY place
"""


def golds(prompts: pa.Table, path: str | None) -> list[str | None]:
    """The gold answer of each row (reference, meta), without blanks around it; None where there is none."""
    import duckdb

    asks = prompts.select(["reference", "meta"]).append_column("place", pa.array(range(prompts.num_rows), pa.int64()))
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("asks", asks)
        return [gold for (gold,) in connection.execute(FOUND, {"path": path}).fetchall()]


class GoldParams(Params):
    """Where the gold answer stands, and the text around it."""

    path: str | None = Field(None, description="JSON path in the prompt's meta, such as $.solution; none: its reference")
    form: str = Field(GOLD, description="text around it, where {gold} stands for it")
    missing: Literal["error", "skip"] = Field("error", description="what a prompt without one means")

    @field_validator("form")
    @classmethod
    def _has_gold(cls, form: str) -> str:
        if GOLD not in form:
            raise ValueError(f"expected a text with {GOLD} in it")
        return form

    @field_validator("path")
    @classmethod
    def _is_path(cls, path: str | None) -> str | None:
        if path is not None and not path.startswith(("$.", "$[")):
            raise ValueError("expected a JSON path such as $.solution")
        return path


@backends.register("gold")
class GoldBackend(Backend):
    """One answer to each prompt: its reference, or what its meta has at `path`."""

    revision = 1
    needs_model = False
    uses_sampler = False
    single = True
    reads = ("reference", "meta")
    Params = GoldParams

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._params: GoldParams = job.params

    @classmethod
    def check(cls, params: GoldParams, spec_path: Path) -> None:
        """SpecError for a path that is none, or that leads to several places."""
        import duckdb

        try:
            golds(pa.table({"reference": ["1"], "meta": ['{"a": 1}']}), params.path)
        except duckdb.Error as error:
            raise SpecError(f"params.path: {params.path!r} is no JSON path to one text: {error}", hint="write it as $.solution") from error

    def _gold(self, prompts: pa.Table) -> list[str | None]:
        return golds(prompts, self._params.path)

    def prepare(self, prompts: pa.Table) -> pa.Table:
        """The prompts that have a gold answer. DataError that names the others, unless `missing: skip`."""
        gold, lost = self._gold(prompts), Unanswered()
        for prompt, messages, text in zip(prompts["prompt_id"].to_pylist(), prompts["messages"].to_pylist(), gold, strict=True):
            if text is None:
                lost.add(self.job.actor, prompt, f"{prompt}: {messages[-1]['content']!r:.60}")
        if lost.lines and (self._params.missing == "error" or len(lost.lines) == len(gold)):
            where = f"nothing at {self._params.path} in their meta" if self._params.path else "no reference"
            raise DataError(
                f"{len(lost.lines)} of {len(gold)} prompts have no gold answer ({where}):\n  {lost.shown()}",
                where=f"actor {self.job.actor}",
                hint="name its column in prompts.fields (reference, or one that goes to meta), or set params.missing: skip",
            )
        self.detail = {"prompts_skipped": len(lost.lines), **lost.detail()}
        return prompts.filter(pc.is_valid(pa.array(gold, pa.string())))

    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The gold answers of a batch."""
        began, wanted = time.perf_counter(), asked(self.job, asks)
        golds = zip(self._gold(pa.Table.from_batches([asks])), wanted.counts, strict=True)
        texts = [self._params.form.replace(GOLD, gold) for gold, count in golds if gold is not None for _ in range(count)]
        sources = [f"gold/{content_id(text)}" for text in texts]
        yield generations(self.job, wanted, texts, seconds=time.perf_counter() - began, models=["gold"] * len(texts), sources=sources)
