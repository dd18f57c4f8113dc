"""A loaded sequence classifier: texts in, the numbers of its head out, the same whatever stands beside a row in its batch.

Rows are padded on the right with an attention mask. A causal classifier reads the last token that is not the padding token, so
where the model names no padding token one is taken that ends no row; a batch then gives what each row gives alone. Logits differ
in their last bits with the batch; they are rounded, and where that noise could round one the other way the row is read alone. In
half precision the noise is larger than any useful rounding; there numbers may differ between batch sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import pyarrow as pa
import torch

from engine import models
from engine.ids import digest
from engine.score.heads import Shown
from engine.score.heads.dropout import Dropping
from engine.score.heads.showing import Showing
from engine.score.reader import near_half
from engine.step import Context, Model

TOKENS, CPU_TOKENS = 1 << 14, 1 << 11  # of one forward pass; on a CPU what stays in the cache
DECIMALS = 3
# By which a logit up to 4 may differ between batches in float32; a larger one in proportion. Largest measured over random models of
# 2 to 12 layers with weights of a standard deviation up to 0.25: nearly that; with those of usual initialisation a fiftieth of it.
NOISE = 6e-5
SHAPE = pa.schema([("key", pa.string()), ("ids", pa.list_(pa.int64()))])


class Classifier(Showing):
    """A model with a head, and how it sees answers."""

    def __init__(self, ctx: Context, model: Model, how: Shown) -> None:
        trusted = ctx.spec.models.trust_remote_code
        self.model, tokenizer = models.load(model.path, ctx.device, trusted, "SequenceClassification")
        super().__init__(tokenizer, how)
        self.digest = model.digest
        config = self.model.config.get_text_config()
        self.longest = self.limit(config)
        self.width = int(self.model.config.num_labels)
        self.exact = self.model.dtype in (torch.float32, torch.float64)

    @torch.inference_mode()
    def logits(self, ids: Sequence[np.ndarray], dropping: Dropping | None = None, keys: Sequence[int] = ()) -> np.ndarray:
        """The head's numbers (rows, outputs) in float64, all rows in one forward pass; `keys` are those of the rows' masks."""
        longest = max(map(len, ids))
        pad = self._pad(ids)
        block = np.full((len(ids), longest), pad, dtype=np.int64)
        mask = np.zeros_like(block)
        for row, own, seen in zip(block, ids, mask, strict=True):
            row[: len(own)], seen[: len(own)] = own, 1
        given = {"input_ids": block, "attention_mask": mask}
        config = self.model.config.get_text_config()
        before, config.pad_token_id = config.pad_token_id, pad
        try:
            with dropping.rows(self.model, keys) if dropping else nullcontext():
                made = self.model(**{name: torch.from_numpy(value).to(self.model.device) for name, value in given.items()}).logits
        finally:
            config.pad_token_id = before
        return made.reshape(len(ids), -1).double().cpu().numpy()

    def _pad(self, ids: Sequence[np.ndarray]) -> int:
        own = self.model.config.get_text_config().pad_token_id
        if own is not None:
            return int(own)
        last = {int(row[-1]) for row in ids}
        return next(token for token in range(len(last) + 1) if token not in last)


class Logits:
    """Operator: `logits`, a list of the head's numbers for each row, pass after pass where `dropping` gives more than one."""

    def __init__(self, classifier: Classifier, dropping: Dropping | None = None) -> None:
        self.classifier, self.dropping = classifier, dropping

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        ids = [np.array(row, dtype=np.int64) for row in batch.column("ids").to_pylist()]
        if self.dropping is None:
            made = self._all(ids, [()] * len(ids))
        else:
            passes = self.dropping.passes
            keys = self.dropping.keys(batch.column("key").to_pylist())  # one a row and pass
            made = self._all([row for row in ids for _ in range(passes)], [(int(key),) for key in keys])
            made = [np.concatenate(made[i : i + passes]) for i in range(0, len(made), passes)]
        column = pa.array([row.tolist() for row in made], pa.list_(pa.float64()))
        return pa.RecordBatch.from_arrays([batch.column("key"), column], names=["key", "logits"])

    def _all(self, ids: list[np.ndarray], keys: list[tuple[int, ...]]) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        limit = CPU_TOKENS if self.classifier.model.device.type == "cpu" else TOKENS
        for piece in pieces([len(row) for row in ids], limit):
            made = self._read(ids[piece.start : piece.stop], keys[piece.start : piece.stop])
            for row, own, key in zip(made, ids[piece.start : piece.stop], keys[piece.start : piece.stop], strict=True):
                unsure = any(near_half(value, DECIMALS, NOISE * max(1.0, abs(value) / 4)) for value in row.tolist())
                exact = self._read([own], [key])[0] if unsure and self.classifier.exact else row
                found.append(np.array([round(value, DECIMALS) + 0.0 for value in exact.tolist()]))
        return found

    def _read(self, ids: list[np.ndarray], keys: list[tuple[int, ...]]) -> np.ndarray:
        return self.classifier.logits(ids, self.dropping, [key for own in keys for key in own])


def pieces(lengths: Sequence[int], limit: int) -> list[range]:
    """Runs of rows that have, padded, at most `limit` tokens, or one row."""
    cuts = [0]
    for row in range(len(lengths)):
        count = row + 1 - cuts[-1]
        if count > 1 and count * max(lengths[cuts[-1] : row + 1]) > limit:
            cuts.append(row)
    return [range(a, b) for a, b in zip(cuts, [*cuts[1:], len(lengths)], strict=True) if a < b]


def keyed(ids: Sequence[Sequence[int]]) -> list[str]:
    """What identifies a row: its tokens. Masks are drawn by it."""
    return [digest(list(row)) for row in ids]
