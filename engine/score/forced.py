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
from engine.spec import Spec, Train
from engine.step import BASE, POLICY, Context, Model, Ref

if TYPE_CHECKING:
    from engine.score.reader import Reader

NAMED = ("policy", "base")
LAST = "-last"  # behind a role: its checkpoint of an earlier round
FIRST = Ref("checkpoints", POLICY, "base")
BATCH = 64  # rows that are journaled together


class Reading(Params):
    """How a model reads answers."""

    max_length: int = Field(1024, gt=0, description="a longer row (prompt and answer, in tokens) gets no number")
    end_token: bool = Field(True, description="count the end token, as training does")


class ReadingOf(Reading):
    """Which model, and how it reads."""

    model: str = Field(
        "policy", description="policy, base, a role of `train` (see `Named`), or a folder with a model, relative to the spec"
    )


@dataclass(frozen=True)
class Named:
    """The model of a measure or of a comparer: `policy`, `base`, a role of `train`, or a folder relative to the spec.

    `<role>` is the checkpoint that this round trains for the role, so that the step comes after that training. `<role>-last` is the
    role's checkpoint of the last earlier round that had one, and in a round without one what `first` of the role's entry says.
    """

    name: str

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """The part that says which checkpoint it is. The policy of the base round is the base."""
        if self.name == "policy" and round_ != BASE:
            return [Ref("policy")]
        if self.name in NAMED:
            return [FIRST]
        train = role_of(spec, self.name)
        if train is None:
            return []
        if self.name == train.role:
            return [Ref("checkpoints", train.role)]
        return [Ref("checkpoints", train.role, "history"), *([FIRST] if train.first == "base" else [])]

    def settings(self, spec: Spec, spec_path: Path, head: bool = False) -> dict[str, Any]:
        """The digest of a folder; where it lies does not matter. SpecError where there is none, or where a role's model is not what
        is needed: with a head that gives numbers (`head`), or one that gives words."""
        if self.name in NAMED:
            return {}
        train = role_of(spec, self.name)
        if train is None:
            return {"digest": models.digest(self._folder(spec, self.name, spec_path))}
        self._fits(spec_path, train, head)
        if self.name != train.role and train.first != "base":
            return {"first": models.digest(self._folder(spec, train.first or "", spec_path))}
        return {}

    def model(self, ctx: Context) -> Model:
        """The model itself."""
        if self.name == "policy" and ctx.round != BASE:
            return ctx.model("policy")
        if self.name in NAMED:
            return ctx.model("base")
        train, name = role_of(ctx.spec, self.name), self.name
        if train and self.name == train.role:
            return ctx.model("checkpoint", role=train.role)
        if train:
            if ctx.read(Ref("checkpoints", train.role, "history"), ["digest"]).num_rows:
                return ctx.model("own", role=train.role)
            if train.first == "base":
                return ctx.model("base")
            name = train.first or ""
        folder = self._folder(ctx.spec, name, ctx.spec_path)
        return Model(models.digest(folder), folder)

    def _fits(self, spec_path: Path, train: Train, head: bool) -> None:
        from engine.train import objective

        where = str(spec_path)
        if (spec_path.parent / self.name).is_dir():
            raise SpecError(f"{self.name!r} is a role of `train` and a folder beside the spec", where=where, hint="rename one of them")
        if (objective(train).outputs is not None) != head:
            wanted, given = ("a head", "words") if head else ("words", "a head")
            raise SpecError(
                f"the model {self.name!r}: expected one with {wanted}, but the role's objective {train.objective} trains one with {given}",
                where=where,
                hint="measures with a head: reward_model, segment_reward, uncertainty; comparer: preference_model",
            )
        if self.name != train.role and train.first is None:
            raise SpecError(
                f"train.first: {self.name!r} is the checkpoint of an earlier round, and round 0 has none",
                where=where,
                hint=f"set `first` in the entry of train for {train.role}: base, or a folder; or name {train.role}, this round's own",
            )
        if head and self.name != train.role and train.first == "base":
            raise SpecError(f"train.first: base has no head, and {self.name!r} needs one", where=where, hint="give a folder with one")

    def _folder(self, spec: Spec, name: str, spec_path: Path) -> Path:
        folder = (spec_path.parent / Path(name).expanduser()).absolute()
        if not folder.is_dir():
            roles = [train.role for train in spec.train if train.role != POLICY]
            raise SpecError(
                f"score: a measure names the model {name!r}; expected policy, base or a folder, looked for {folder}",
                where=str(spec_path),
                hint="give a folder with config.json and *.safetensors, relative to the spec"
                + (f", or a role that trains: {', '.join(f'{role} or {role}{LAST}' for role in roles)}" if roles else ""),
            )
        return folder


def role_of(spec: Spec, name: str) -> Train | None:
    """The entry of `train` whose checkpoint a model's name means: its role, or that with -last behind it."""
    roles = {train.role: train for train in spec.train if train.role != POLICY}
    return roles.get(name) or (roles.get(name.removesuffix(LAST)) if name.endswith(LAST) else None)


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
        return Named(self.params.model).reads(spec, round_)

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """How answers are rendered, and a folder's digest."""
        return settings(spec) | Named(self.params.model).settings(spec, spec_path)

    def versions(self, ctx: Context) -> list[str]:
        """The digest of the model that reads."""
        return [Named(self.params.model).model(ctx).digest]

    def by_suffix(self, found: pa.Table, columns: Sequence[str]) -> dict[str, pa.Table]:
        """`found` (item_id, detail and `columns`) as a table for each of `outputs`."""
        names = zip(self.outputs, columns, strict=True)
        return {suffix: found.select(["item_id", name, "detail"]).rename_columns(["item_id", "value", "detail"]) for suffix, name in names}
