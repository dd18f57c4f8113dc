"""Measures by teacher forcing: which model reads the answers, and numbers for each of them with a journal.

`engine.score.reader` holds what needs torch; this file loads it when a measure runs.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from engine import models, operators
from engine.errors import SpecError, StepError
from engine.params import Params
from engine.score.measures import Measure
from engine.spec import Spec
from engine.step import BASE, Context, Model, Ref

if TYPE_CHECKING:
    from engine.score.reader import Reader

NAMED = ("policy", "base")
BATCH = 64  # rows that are journaled together


class Reading(Params):
    """How a model reads answers."""

    max_length: int = Field(1024, gt=0, description="a longer row (prompt and answer, in tokens) gets no number")
    end_token: bool = Field(True, description="count the end token, as training does")


class ReadingOf(Reading):
    """Which model, and how it reads."""

    model: str = Field("policy", description="policy, base, or a folder with a model, relative to the spec")


@dataclass(frozen=True)
class Named:
    """The model of a measure: `policy`, `base`, or a folder relative to the spec."""

    name: str

    def reads(self, round_: int) -> list[Ref]:
        """The part that says which checkpoint it is. The policy of the base round is the base."""
        if self.name == "policy" and round_ != BASE:
            return [Ref("policy")]
        return [Ref("checkpoints", "policy", "base")] if self.name in NAMED else []

    def settings(self, spec_path: Path) -> dict[str, Any]:
        """The digest of a folder; where it lies does not matter. SpecError where there is none."""
        return {} if self.name in NAMED else {"digest": models.digest(self._folder(spec_path))}

    def model(self, ctx: Context) -> Model:
        """The model itself."""
        if self.name == "policy" and ctx.round != BASE:
            return ctx.model("policy")
        if self.name in NAMED:
            return ctx.model("base")
        folder = self._folder(ctx.spec_path)
        return Model(models.digest(folder), folder)

    def _folder(self, spec_path: Path) -> Path:
        folder = (spec_path.parent / Path(self.name).expanduser()).absolute()
        if not folder.is_dir():
            raise SpecError(
                f"score: a measure names the model {self.name!r}; expected policy, base or a folder, looked for {folder}",
                where=str(spec_path),
                hint="give a folder with config.json and *.safetensors, relative to the spec",
            )
        return folder


def settings(spec: Spec) -> dict[str, Any]:
    """What every reading of answers depends on, for the fingerprint."""
    return {"chat": spec.generate.chat, "trust_remote_code": spec.models.trust_remote_code}


def load(ctx: Context, model: Model, how: Reading, chat: bool | Literal["spec"] | None = "spec") -> Reader:
    """The model with its encoder, ready to read. `chat`: whether its template shows prompts, by default as generation does."""
    from engine.score.reader import Reader

    return Reader(ctx, model, how.max_length, how.end_token, ctx.spec.generate.chat if chat == "spec" else chat)


def likelihood(
    ctx: Context, rows: pa.Table, model: Model, how: Reading, label: str, chat: bool | Literal["spec"] | None = "spec"
) -> pa.Table:
    """item_id, detail, total, mean and tokens of each of `rows` under one of several models, which is gone from memory afterwards."""
    from engine.score.reader import Likelihood

    reader = load(ctx, model, how, chat)
    journal = ctx.journal / model.digest
    found = read(ctx, rows, reader, partial(Likelihood, reader), Likelihood.columns, label=label, journal=journal)
    del reader
    gc.collect()
    return found


def read(
    ctx: Context,
    rows: pa.Table,
    reader: Reader,
    make: Callable[[], operators.Operator],
    columns: Sequence[str],
    *,
    label: str,
    journal: Path,
    batch: int = BATCH,
) -> pa.Table:
    """item_id and the operator's `columns` (doubles) for each of `rows`, in order; null, with a `detail`, where a row is too long.

    Rows with equal messages and response are read once. StepError where the model gives something that is no finite number.
    """
    place, unique = _unique(rows)
    given = reader.encode(unique)
    lengths = [len(ids) for ids in given["ids"].to_pylist()]
    detail = [_reason(n, first, reader.longest) for n, first in zip(lengths, given["first"].to_pylist(), strict=True)]
    fits = [i for i, reason in enumerate(detail) if reason is None]
    if len(fits) < len(detail):
        left = len(detail) - len(fits)
        ctx.progress.note(f"{label}: {left} of {len(detail)} answers get no number (no token, or more than {reader.longest} in all)")
    found: dict[str, dict[str, Any]] = {}
    if fits:
        order = sorted(range(len(fits)), key=lambda i: -lengths[fits[i]])  # longest first: what needs most memory fails at once
        todo = given.take(pa.array(fits))
        made = operators.run(make, todo, key="key", batch=batch, journal=journal, progress=ctx.progress, label=label, order=order)
        found = {row["key"]: row for row in made.to_pylist()}
        _finite(found, columns, label)
    keys = given["key"].to_pylist()
    table: dict[str, Any] = {"item_id": rows["generation_id"], "detail": pa.array([detail[i] for i in place], pa.string())}
    table |= {name: pa.array([found.get(keys[i], {}).get(name) for i in place], pa.float64()) for name in columns}
    return pa.table(table)


def _unique(rows: pa.Table) -> tuple[list[int], pa.Table]:
    """Each row's position among the different texts, and the first row of each text."""
    seen: dict[Any, int] = {}
    place: list[int] = []
    first: list[int] = []
    for i, (said, text) in enumerate(zip(rows["messages"].to_pylist(), rows["response"].to_pylist(), strict=True)):
        at = seen.setdefault((tuple((m["role"], m["content"]) for m in said), text), len(seen))
        first += [i] if at == len(first) else []
        place.append(at)
    return place, rows.take(pa.array(first, pa.int64()))


def _reason(length: int, first: int, longest: int) -> str | None:
    if length > longest:
        return f"truncated: {length} tokens, {longest} allowed"
    return None if length > first else "no token to read"


def _finite(found: dict[str, dict[str, Any]], columns: Sequence[str], label: str) -> None:
    for key, row in found.items():
        bad = next((name for name in columns if not math.isfinite(row[name])), None)
        if bad:
            text = f"{label}: {bad} of generation {key} is {row[bad]}"
            raise StepError(text, hint="the model's logits are not finite: look at its weights and its dtype")


class ByModel(Measure):
    """A measure whose columns one model gives; its settings are `ReadingOf` or more."""

    on_device = True
    Params = ReadingOf

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """The checkpoint that reads."""
        return Named(self.params.model).reads(round_)

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """How answers are rendered, and a folder's digest."""
        return settings(spec) | Named(self.params.model).settings(spec_path)

    def versions(self, ctx: Context) -> list[str]:
        """The digest of the model that reads."""
        return [Named(self.params.model).model(ctx).digest]

    def by_suffix(self, found: pa.Table, columns: Sequence[str]) -> dict[str, pa.Table]:
        """`found` (item_id, detail and `columns`) as a table for each of `outputs`."""
        names = zip(self.outputs, columns, strict=True)
        return {suffix: found.select(["item_id", name, "detail"]).rename_columns(["item_id", "value", "detail"]) for suffix, name in names}
