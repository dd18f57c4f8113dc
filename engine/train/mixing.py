"""The supervised trainer on pairs of rows whose last hidden states are mixed: see `engine.train.methods.sftmix`.

Loaded only when a training runs: importing TRL takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy

from engine.errors import StepError
from engine.train import Job, Trained
from engine.train.encode import Example
from engine.train.log import Log
from engine.train.methods.sft import config
from engine.train.micro import split
from engine.train.order import plan
from engine.train.rowwise import numbers_of
from engine.train.running import Running
from engine.train.state import Consumed
from engine.train.trainer import IGNORED, Collator, WeightedTrainer

COLUMNS = ("half", "pair", "lambda")
Pair = tuple[int, ...]  # numbers of a confident row and its partner, or of a single row


def train(job: Job, mu: float) -> Trained:
    """Trains the model of `job`; partners stand in one batch."""
    running, how = Running(job), job.settings
    examples = running.encoder(how.mask).encode(job.rows)
    rows = job.rows.select(["row_id", "source_round", "extra"]).to_pylist()
    pairs, share = paired(rows)
    ids = [rows[pair[0]]["row_id"] for pair in pairs]
    units = plan(ids, batch_size=max(1, how.batch_size // 2), epochs=how.epochs, max_steps=how.max_steps, seed=job.seed, round_=job.round)
    batches = [[row for unit in batch for row in pairs[unit]] for batch in units]

    def make(consumed: Consumed, log: Log) -> MixTrainer:
        collator = MixCollator(examples, consumed.plan, running.pad, share)
        return running.built(MixTrainer, config(running), consumed, log, data_collator=collator, mu=mu)

    return running.train([e.row_id for e in examples], [len(e.ids) for e in examples], make, batches)


def paired(rows: Sequence[dict[str, Any]]) -> tuple[list[Pair], dict[Pair, float]]:
    """Pairs (the confident row first) and single rows, and lambda of each pair. A row whose partner is not there is single.

    StepError for a pair of more than two rows or of equal halves, and for a lambda that is none.
    """
    found: dict[tuple[int, float], list[int]] = {}
    numbers = [numbers_of(row, COLUMNS) for row in rows]
    single: list[Pair] = []
    for i, (row, own) in enumerate(zip(rows, numbers, strict=True)):
        if own["pair"] is None:
            single.append((i,))
        else:
            found.setdefault((row["source_round"], own["pair"]), []).append(i)
    pairs: dict[Pair, float] = {}
    for (round_, name), members in found.items():
        if len(members) == 1:
            single.append((members[0],))
            continue
        members.sort(key=lambda i: -(numbers[i]["half"] or 0.0))
        halves, shares = [numbers[i]["half"] for i in members], {numbers[i]["lambda"] for i in members}
        share = shares.pop()
        if halves != [1.0, 0.0] or shares or share is None or not 0 <= share <= 1:
            raise StepError(
                f"pair {name:g} of round {round_}: expected a confident and an unconfident row (half 1 and 0) with one lambda from 0 to 1, "
                f"found halves {halves} in rows {', '.join(rows[i]['row_id'] for i in members)}",
                hint="let the SQL of `select` give half, pair and lambda in extra, as sql/select/sftmix.sql does",
            )
        pairs[members[0], members[1]] = share
    return [*pairs, *single], pairs


class MixCollator(Collator):
    """Makes the tensors of one planned batch: the confident rows, then as many partners. A single row is its own partner, which has
    no part in either loss. `own` and `other` are the columns of the k-th targets of both (pairs, targets), `mixed` where both have
    one, as shares of all such positions of the batch."""

    def __init__(self, examples: Sequence[Example], plan: list[list[int]], pad: int, share: dict[Pair, float]) -> None:
        super().__init__(examples, plan, pad)
        self.partner = dict(share)

    def pairs(self, number: int) -> list[Pair]:
        """The pairs and single rows of a batch, in its order."""
        rows, found = self.plan[number], []
        while rows:
            size = 2 if tuple(rows[:2]) in self.partner else 1
            found.append(tuple(rows[:size]))
            rows = rows[size:]
        return found

    def __call__(self, items: list[dict[str, int]]) -> dict[str, Any]:
        """`items` is one item: the number of the batch."""
        number = items[0]["batch"]
        pairs = self.pairs(number)
        batch = Collator(self.examples, [[*(p[0] for p in pairs), *(p[-1] for p in pairs)]], self.pad)([{"batch": 0}])
        weights, labels = batch["weights"].double(), batch["labels"]
        for i, pair in enumerate(pairs):
            if len(pair) == 1:
                weights[len(pairs) + i], labels[len(pairs) + i] = 0, IGNORED
        targets = [torch.nonzero(row != IGNORED)[:, 0] for row in labels]
        both = [min(len(targets[i]), len(targets[len(pairs) + i])) for i in range(len(pairs))]
        shape = (len(pairs), max(1, *both))
        own, other, mixed = np.ones(shape, dtype=np.int64), np.ones(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
        for i, count in enumerate(both):
            own[i, :count], other[i, :count] = targets[i][:count], targets[len(pairs) + i][:count]
            mixed[i, :count] = 1 / max(1, sum(both))
        return batch | {
            "batch": number,
            "pairs": len(pairs),
            "labels": labels,
            "weights": (weights / weights.sum()).float(),
            "own": torch.from_numpy(own),
            "other": torch.from_numpy(other),
            "mixed": torch.from_numpy(mixed),
            "lambda": torch.tensor([self.partner.get(pair, 1.0) for pair in pairs]),
        }


class MixTrainer(WeightedTrainer):
    """The loss of `WeightedTrainer` on all rows, and mu times that of the mixed states of pairs, logged as `mix`."""

    def __init__(self, *, mu: float, **more: Any) -> None:
        super().__init__(**more)
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        self.mu, self.head, self._same = mu, base.get_output_embeddings(), False

    def parts(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """Pairs stay together: half as many of them as `micro_batch` has rows."""
        pairs, size = inputs.pop("pairs"), (self.how.micro_batch or 0) // 2
        return split(inputs, pairs, size) if size and size < pairs else [inputs]

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The loss of one batch in nats. StepError where it is not finite, or where the output layer is not all that the model does
        to its hidden states."""
        number, weights, labels = inputs["batch"], inputs["weights"], inputs["labels"]
        more = {"output_router_logits": True} if self.aux_loss_enabled else {}
        outputs = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False, output_hidden_states=True, **more
        )
        hidden, logits = outputs.hidden_states[-1], outputs.logits[:, :-1].float()
        self._check(hidden, outputs.logits)
        nll = (cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="none") * weights[:, 1:].flatten()).sum()
        mix = self.mix(hidden, inputs)
        loss = nll + self.mu * mix
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss * weights.sum()
        self.took(number, loss.item(), {"nll": nll.item(), "mix": mix.item()})
        return (loss, outputs) if return_outputs else loss

    def mix(self, hidden: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss of the mixed states: `hidden` (2 x pairs, tokens, width) predicts token k + 1 at position k."""
        (ids_c, ids_u), (own, other) = inputs["input_ids"].chunk(2), (inputs["own"], inputs["other"])
        share, mixed = inputs["lambda"].to(hidden.dtype)[:, None], inputs["mixed"]
        halves = zip(hidden.chunk(2), (own, other), strict=True)
        states = [half.gather(1, (at - 1)[..., None].expand(-1, -1, half.shape[2])) for half, at in halves]
        logits = self.head(share[..., None] * states[0] + (1 - share[..., None]) * states[1]).float()
        wanted = [ids.gather(1, at) for ids, at in ((ids_c, own), (ids_u, other))]
        first, second = (cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view_as(mixed) for ids in wanted)
        return ((share * first + (1 - share) * second) * mixed).sum()

    def _check(self, hidden: torch.Tensor, logits: torch.Tensor) -> None:
        """Once: some models scale or cap what their output layer gives, and then mixed states would be read otherwise."""
        if self._same:
            return
        with torch.no_grad():
            apart = float((self.head(hidden[:1].to(self.head.weight.dtype)).float() - logits[:1].float()).abs().max())
        if not apart <= 0.02 * max(1.0, float(logits[:1].detach().abs().max())) or math.isnan(apart):
            raise StepError(
                f"sftmix mixes the states that the output layer reads, and this model does more to them ({type(self.model).__name__}: "
                f"logits differ by {apart:.2g})",
                hint="train this model with the objective sft",
            )
        self._same = True
