"""A model that reads given answers: log-probabilities of the tokens that training would learn (teacher forcing).

An answer is encoded exactly as `engine.train.encode` encodes it for supervised fine-tuning: the same template, prompt tokens
masked, an end token behind it. Rows of one batch are padded on the right, where causal attention never looks, so no mask is
needed. The logits of a row differ in their last bits with the batch around it; sums are therefore rounded, and where that
noise could round one the other way it is computed anew from the row alone.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from engine import models
from engine.step import Context, Model
from engine.train.encode import Encoder

LOGITS = 1 << 25  # logits of one forward pass: 128 MiB in float32
EXACT = 1 << 17  # logits in one float64 block: 1 MiB, which stays in the cache
# Nats by which a token's log-probability may differ between batches in float32; of a sum over n tokens sqrt(n) times that. Largest
# measured over random models of 2 to 12 layers: 2.1e-5 of a token, and of a sum over n >= 15 tokens a sixteenth of the bound.
TOKEN_NOISE = 4e-5
SUM_DECIMALS, MEAN_DECIMALS = 2, 4  # of a sum as in generations.logprob; of a mean over tokens
KEY, IDS, FIRST = "key", "ids", "first"
SHAPE = pa.schema([(KEY, pa.string()), (IDS, pa.list_(pa.int64())), (FIRST, pa.int64())])


class Reader:
    """A loaded model with its encoder; `encode` first, then rows of what it gave."""

    def __init__(self, ctx: Context, model: Model, max_length: int, end_token: bool, chat: bool | None = None) -> None:
        self.model, self.tokenizer = models.load(model.path, ctx.device, ctx.spec.models.trust_remote_code)
        ends = self.model.generation_config.eos_token_id if self.model.generation_config else None
        config = self.model.config.get_text_config()
        self.longest = min(max_length, getattr(config, "max_position_embeddings", None) or max_length)
        self.end_token = end_token
        # In half precision the noise of a batch is too large to compute sums anew; there rows may differ between batch sizes.
        self.exact = self.model.dtype in (torch.float32, torch.float64)
        self._keeps = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        # no limit: a row that is too long gets no number instead of stopping the step
        ends = [ends] if isinstance(ends, int) else ends or []
        self._encoder = Encoder(self.tokenizer, mask="last", chat=chat, ends=ends, limit=2**62)

    def encode(self, rows: pa.Table) -> pa.Table:
        """key (generation_id), ids (token ids, cut after the last target) and first (position of the first target)."""
        texts, keys = rows["response"].to_pylist(), rows["generation_id"].to_pylist()
        chats = [
            [*({**m, "weight": 0.0} for m in said), {"role": "assistant", "content": text, "weight": 1.0}]
            for said, text in zip(rows["messages"].to_pylist(), texts, strict=True)
        ]
        examples = self._encoder.encode(pa.table({"row_id": keys, "messages": chats, "weight": [1.0] * len(keys)}))
        starts = [len(e.ids) - int(np.count_nonzero(e.weights)) for e in examples]
        ids = [e.ids for e in examples]
        if not self.end_token:  # the template's text up to its end token stands behind the answer's own tokens
            own = [len(tokens) for tokens in self.tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []
            ids = [row[: start + n] for row, start, n in zip(ids, starts, own, strict=True)]
        # the first token of a row follows nothing, so it is never a target
        return pa.Table.from_pydict({KEY: keys, IDS: ids, FIRST: [max(1, start) for start in starts]}, schema=SHAPE)

    def forward(self, ids: Sequence[np.ndarray], kept: int) -> Any:
        """Logits (rows, positions from `kept` on, vocabulary) of token ids, padded on the right."""
        block = np.zeros((len(ids), max(map(len, ids))), dtype=np.int64)
        for row, own in zip(block, ids, strict=True):
            row[: len(own)] = own
        given: dict[str, Any] = {"input_ids": torch.from_numpy(block).to(self.model.device), "use_cache": False}
        if self._keeps:
            given["logits_to_keep"] = torch.arange(kept, block.shape[1], device=self.model.device)
        logits = self.model(**given).logits
        return logits if self._keeps else logits[:, kept:]

    @torch.inference_mode()
    def logprobs(self, ids: Sequence[np.ndarray], first: Sequence[int]) -> list[np.ndarray]:
        """Log-probabilities in nats (float64) of each row's targets, all rows in one forward pass."""
        kept = min(first) - 1
        logits = self.forward(ids, kept)
        found = []
        for row, own, start in zip(logits, ids, first, strict=True):
            targets = torch.from_numpy(own[start:]).to(row.device).unsqueeze(1)
            mine = row[start - 1 - kept : len(own) - 1 - kept]
            size = max(1, EXACT // mine.shape[1])
            total = torch.cat([mine[i : i + size].double().logsumexp(dim=1) for i in range(0, len(mine), size)])
            found.append((mine.gather(1, targets).squeeze(1).double() - total).cpu().numpy())
        return found

    def pieces(self, ids: Sequence[np.ndarray], first: Sequence[int]) -> list[range]:
        """Runs of rows whose logits fit into one forward pass."""
        vocabulary, cuts = self.model.config.get_text_config().vocab_size, [0]
        for row in range(len(ids)):
            own = range(cuts[-1], row + 1)
            width = max(len(ids[i]) for i in own) - min(first[i] for i in own) + 1
            if len(own) > 1 and len(own) * width * vocabulary > LOGITS:
                cuts.append(row)
        return [range(a, b) for a, b in zip(cuts, [*cuts[1:], len(ids)], strict=True)]


class Likelihood:
    """Operator: sum and mean of the log-probabilities of a row's targets in nats, and how many there are."""

    columns = ("total", "mean", "tokens")

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        ids = [np.array(row, dtype=np.int64) for row in batch.column(IDS).to_pylist()]
        first = batch.column(FIRST).to_pylist()
        rows = []
        for piece in self.reader.pieces(ids, first):
            got = self.reader.logprobs([ids[i] for i in piece], [first[i] for i in piece])
            rows += [self._numbers(ids[i], first[i], logprobs) for i, logprobs in zip(piece, got, strict=True)]
        columns = [pa.array(column, pa.float64()) for column in zip(*rows, strict=True)]
        return pa.RecordBatch.from_arrays([batch.column(KEY), *columns], names=[KEY, *self.columns])

    def _numbers(self, ids: np.ndarray, first: int, logprobs: np.ndarray) -> tuple[float, float, float]:
        n, total = len(logprobs), math.fsum(logprobs)
        noise = TOKEN_NOISE * math.sqrt(n)
        unsure = near_half(total, SUM_DECIMALS, noise) or near_half(total / n, MEAN_DECIMALS, noise / n)
        if unsure and self.reader.exact:
            total = math.fsum(self.reader.logprobs([ids], [first])[0])
        return round(total, SUM_DECIMALS) + 0.0, round(total / n, MEAN_DECIMALS) + 0.0, float(n)


def near_half(value: float, decimals: int, noise: float) -> bool:
    """Whether a change of `value` by `noise` could round it to another number of that many decimals."""
    scaled = value * 10**decimals
    return not math.isfinite(value) or abs(scaled - math.floor(scaled) - 0.5) < noise * 10**decimals
