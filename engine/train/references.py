"""Log-probabilities of given answers under models that do not train: the values of a reference, as columns of the rows.

The tokens and weights are those of the training (`engine.train.encode`). Sums are rounded to two decimals and do not depend on the
batch (`engine.score.reader`), so that a step that was killed goes on to the same table.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine import operators
from engine.errors import StepError
from engine.ids import digest
from engine.spec import Train
from engine.step import Context, Ref
from engine.train import sources

if TYPE_CHECKING:
    from engine.score.reader import Reader
    from engine.train.encode import Example

BATCH = 64  # rows that are journaled together
Rows = Mapping[str, pa.Table]  # row_id, messages and weight by side, as `Encoder.encode` takes them


def refs(names: Iterable[str], role: str) -> list[Ref]:
    """The parts that say which checkpoints the models `names` are."""
    return [ref for name in names for ref in sources.refs(name, role)]


def values(
    ctx: Context, train: Train, rows: Rows, names: Iterable[str], mask: str, cut: Collection[str] = ()
) -> dict[str, dict[str, list[float]]]:
    """By model and side: for each row, in order, the sum over its target tokens of weight times log-probability, in nats.

    Of the sides in `cut` rows that are too long are cut.

    StepError for a row that cannot be encoded or whose sum is not finite; ModelError where a model is missing.
    """
    found: dict[str, dict[str, list[float]]] = {}
    known: dict[str, dict[str, list[float]]] = {}
    for name in dict.fromkeys(names):
        model = sources.model(ctx, name, train.role)
        if model.digest not in known:
            known[model.digest] = _under(ctx, train, rows, model, mask, f"log-probabilities under {name}", cut)
        found[name] = known[model.digest]
    return found


def mixed(found: Mapping[str, Mapping[str, list[float]]], weights: Mapping[str, float], side: str) -> list[float]:
    """A side's log-probabilities under the weighted log-mixture of models."""
    columns = [(weight, found[name][side]) for name, weight in weights.items()]
    return [
        math.fsum(weight * value for weight, value in zip((w for w, _ in columns), row, strict=True))
        for row in zip(*(c for _, c in columns), strict=True)
    ]


def _under(ctx: Context, train: Train, rows: Rows, model: Any, mask: str, label: str, cut: Collection[str]) -> dict[str, list[float]]:
    from engine.score.reader import Reader
    from engine.train.running import encoder

    reader = Reader(ctx, model, train.max_length, True, ctx.spec.generate.chat)
    own = encoder(reader.model, reader.tokenizer, mask=mask, chat=ctx.spec.generate.chat, longest=train.max_length)
    examples = {side: own.encode(table, cut=side in cut) for side, table in rows.items()}
    sums = _sums(ctx, reader, [example for side in examples.values() for example in side], model.digest, label)
    del reader
    gc.collect()
    return {side: [sums[_key(example)] for example in rows] for side, rows in examples.items()}


def _key(example: Example) -> str:
    return digest(example.ids.tolist(), example.weights.tolist())


def _sums(ctx: Context, reader: Reader, examples: list[Example], model: str, label: str) -> dict[str, float]:
    """Sum by key of the example; equal ones are read once."""
    unique = {_key(example): example for example in examples}
    keys = sorted(unique, key=lambda key: (-len(unique[key].ids), key))  # longest first: what needs most memory fails at once
    todo = pa.table(
        {
            "key": keys,
            "ids": pa.array([unique[key].ids.tolist() for key in keys], pa.list_(pa.int64())),
            "weights": pa.array([unique[key].weights.tolist() for key in keys], pa.list_(pa.float64())),
        }
    )
    made = operators.run(
        lambda: _Summing(reader), todo, key="key", batch=BATCH, journal=ctx.journal / "logps" / model, progress=ctx.progress, label=label
    )
    found = dict(zip(made["key"].to_pylist(), made["total"].to_pylist(), strict=True))
    bad = next((key for key, value in found.items() if not math.isfinite(value)), None)
    if bad:
        raise StepError(f"{label}: a row has {found[bad]}", hint="the model's logits are not finite: look at its weights and its dtype")
    return found


class _Summing:
    """Operator: the weighted sum of the log-probabilities of a row's targets."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import numpy as np

        from engine.score.reader import SUM_DECIMALS, TOKEN_NOISE, near_half

        ids = [np.array(row, dtype=np.int64) for row in batch.column("ids").to_pylist()]
        weights = [np.array(row) for row in batch.column("weights").to_pylist()]
        first = [max(1, int(np.flatnonzero(row)[0])) for row in weights]
        totals: list[float] = []
        for piece in self.reader.pieces(ids, first):
            got = self.reader.logprobs([ids[i] for i in piece], [first[i] for i in piece])
            for i, logprobs in zip(piece, got, strict=True):
                own = weights[i][first[i] :]
                total = math.fsum(own * logprobs)
                if near_half(total, SUM_DECIMALS, TOKEN_NOISE * math.sqrt(float((own**2).sum()))) and self.reader.exact:
                    total = math.fsum(own * self.reader.logprobs([ids[i]], [first[i]])[0])
                totals.append(round(total, SUM_DECIMALS) + 0.0)
        return pa.RecordBatch.from_arrays([batch.column("key"), pa.array(totals, pa.float64())], names=["key", "total"])
