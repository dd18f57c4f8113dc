"""CHES: how much a preference pair would lower the probability of its own preferred answer (likelihood displacement).

Source: Razin et al., "Unintentional Unalignment: Likelihood Displacement in Direct Preference Optimization", arXiv 2410.08847. With
S = sum of the last layer's hidden states (the output head's inputs) over the positions that predict an answer's tokens, from the
last prompt token to the one before the last answer token: CHES = <S+, S-> - ||S+||^2, and length-normalised <S+, S-> / (T+ T-) -
||S+||^2 / T+^2 over T positions. Pairs with a high number are left out. The repository normalises by the padded length; here T counts
the positions of the answer itself. The model must be the one that the pairs will train.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from engine import operators
from engine.errors import StepError
from engine.ids import canonical, digest
from engine.score import forced
from engine.score.comparers import CHAT, Comparer, comparers
from engine.spec import Spec
from engine.step import Context, Ref

if TYPE_CHECKING:
    from engine.score.reader import Reader

BATCH = 8  # prompts that are journaled together
TEXTS = pa.schema([("generation_id", pa.string()), ("messages", CHAT), ("response", pa.string())])
GROUPS = pa.schema([("group", pa.string()), ("ids", pa.list_(pa.list_(pa.int64()))), ("first", pa.list_(pa.int64()))])


class ChesParams(forced.ReadingOf):
    """Which model, and which of the two numbers."""

    length_norm: bool = Field(False, description="value: the length-normalised number; the other one stands in `detail`")


@comparers.register("ches")
class Ches(Comparer):
    """`value` of each ordered pair, the first answer being the preferred one; no probability. Null where an answer is too long."""

    on_device = True
    symmetric = False
    Params = ChesParams

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return forced.Named(self.params.model).reads(spec, round_)

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return forced.settings(spec) | forced.Named(self.params.model).settings(spec, spec_path)

    def versions(self, ctx: Context) -> list[str]:
        return [forced.Named(self.params.model).model(ctx).digest]

    def compare(self, ctx: Context, questions: pa.Table) -> pa.Table:
        reader = forced.load(ctx, forced.Named(self.params.model).model(ctx), self.params)
        answers, pairs = _answers(questions)
        given = reader.encode(answers)
        ids, first = given["ids"].to_pylist(), given["first"].to_pylist()
        long = {i for i, row in enumerate(ids) if not first[i] < len(row) <= reader.longest}
        groups: dict[str, list[int]] = {}
        for row, said in enumerate(answers["messages"].to_pylist()):
            if row not in long:
                groups.setdefault(canonical(said), []).append(row)
        made = self._sums(ctx, reader, groups, ids, first)
        values, detail = [], []  # type: list[float | None], list[str]
        for pair in pairs:
            if long & set(pair):
                values.append(None)
                detail.append(f"an answer is too long, or has no token to read: {reader.longest} tokens allowed")
                continue
            plain, normalised = made[pair]
            values.append(normalised if self.params.length_norm else plain)
            detail.append(canonical({"ches": plain, "length_normalised": normalised}))
        if long:
            ctx.progress.note(f"CHES: {sum(value is None for value in values)} of {len(pairs)} pairs get no number")
        return pa.table({"key": questions["key"], "value": pa.array(values, pa.float64()), "detail": detail})

    def _sums(
        self, ctx: Context, reader: Reader, groups: dict[str, list[int]], ids: list[list[int]], first: list[int]
    ) -> dict[tuple[int, int], tuple[float, float]]:
        """Both numbers of every ordered pair of rows of a group."""
        if not groups:
            return {}
        todo = pa.Table.from_pydict(
            {
                "group": [digest(said, [ids[row] for row in rows]) for said, rows in groups.items()],
                "ids": [[ids[row] for row in rows] for rows in groups.values()],
                "first": [[first[row] for row in rows] for rows in groups.values()],
            },
            schema=GROUPS,
        )
        made = operators.run(
            lambda: Displacement(reader),
            todo,
            key="group",
            batch=BATCH,
            journal=ctx.journal,
            progress=ctx.progress,
            label=f"CHES ({self.params.model})",
        )
        by_group = {row["group"]: row for row in made.to_pylist()}
        found: dict[tuple[int, int], tuple[float, float]] = {}
        for name, rows in zip(todo["group"].to_pylist(), groups.values(), strict=True):
            numbers = iter(zip(by_group[name]["ches"], by_group[name]["normalised"], strict=True))
            found |= {(a, b): next(numbers) for a in rows for b in rows}
        return found


class Displacement:
    """Operator: both numbers of all ordered pairs of a group's answers, each answer read alone, so that no batch changes a bit."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        made: dict[str, list[Any]] = {"group": [], "ches": [], "normalised": []}
        for row in batch.to_pylist():
            sums = [self._sum(np.array(ids), first) for ids, first in zip(row["ids"], row["first"], strict=True)]
            numbers = [ches(plus, minus) for plus in sums for minus in sums]
            made["group"].append(row["group"])
            made["ches"].append([plain for plain, _ in numbers])
            made["normalised"].append([normalised for _, normalised in numbers])
        kinds = [pa.string(), pa.list_(pa.float64()), pa.list_(pa.float64())]
        return pa.RecordBatch.from_arrays([pa.array(v, k) for v, k in zip(made.values(), kinds, strict=True)], names=list(made))

    def _sum(self, ids: np.ndarray, first: int) -> tuple[np.ndarray, int]:
        """S (width, float64) and T of one answer."""
        import torch

        head = self.reader.model.get_output_embeddings()
        if head is None:
            raise StepError("ches: the model has no output head, whose inputs are read", where=str(self.reader.tokenizer.name_or_path))
        seen: list[torch.Tensor] = []
        hook = head.register_forward_hook(lambda _, given, out: seen.append(given[0]))
        try:
            with torch.inference_mode():
                self.reader.forward([ids], first - 1)
        finally:
            hook.remove()
        count = len(ids) - first
        states = seen[0][0, -(count + 1) : -1].double()
        return states.sum(dim=0).cpu().numpy(), count


def ches(plus: tuple[np.ndarray, int], minus: tuple[np.ndarray, int]) -> tuple[float, float]:
    """CHES and its length-normalised form, from (S, T) of the preferred and of the other answer."""
    (first, ours), (second, theirs) = plus, minus
    product, square = math.fsum((first * second).tolist()), math.fsum((first * first).tolist())
    return product - square, product / (ours * theirs) - square / ours**2


def _answers(questions: pa.Table) -> tuple[pa.Table, list[tuple[int, int]]]:
    """The different answers of the questions as rows that a reader encodes, and each question as two numbers of rows."""
    seen: dict[tuple[Any, ...], int] = {}
    pairs = []
    for said, *sides in zip(*(questions[name].to_pylist() for name in ("messages", "first", "second")), strict=True):
        chat = tuple((m["role"], m["content"]) for m in said)
        a, b = (seen.setdefault((chat, text), len(seen)) for text in sides)
        pairs.append((a, b))
    rows: Sequence[dict[str, Any]] = [
        {"generation_id": str(i), "messages": [{"role": r, "content": c} for r, c in chat], "response": text}
        for i, (chat, text) in enumerate(seen)
    ]
    return pa.Table.from_pylist(rows, schema=TEXTS), pairs
