"""TRL's reward trainer on planned batches of texts, with the house's losses, row weights and heads of several outputs.

Loaded only when a training runs: importing TRL takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from trl import RewardConfig, RewardTrainer

from engine.errors import StepError
from engine.score.heads.showing import Showing
from engine.train import Job, Trained
from engine.train.heads import HeadObjective, HeadValues
from engine.train.heads.dropping import put
from engine.train.heads.start import KIND, start
from engine.train.log import Log
from engine.train.planned import Planned
from engine.train.running import Running
from engine.train.state import Consumed


@dataclass(frozen=True)
class HeadRow:
    """A row ready to train: the token ids of its texts, its weight and its numbers."""

    row_id: str
    texts: tuple[tuple[int, ...], ...]
    weight: float
    numbers: Mapping[str, float]


def train(job: Job, objective: HeadObjective) -> Trained:
    """Trains the model of `job` with the head of the objective."""
    running = Running(job, KIND, load=partial(start, outputs=objective.outputs))
    rows = encoded(running, objective)

    def make(consumed: Consumed, log: Log) -> HeadTrainer:
        config = RewardConfig(**running.arguments(), max_length=None, disable_dropout=not objective.params.dropout)
        collator = HeadCollator(rows, consumed.plan, running.pad, job.settings.micro_batch)
        return running.built(HeadTrainer, config, consumed, log, data_collator=collator, objective=objective)

    return running.train([row.row_id for row in rows], [sum(map(len, row.texts)) for row in rows], make)


def encoded(running: Running, objective: HeadObjective) -> list[HeadRow]:
    """Every row as the objective needs it. StepError, naming a row, where one is too long, empty or lacks a number."""
    showing = Showing(running.tokenizer, objective.shown(running.job.settings.max_length))
    given = running.job.rows.to_pylist()
    texts = [tuple(objective.texts(row, showing)) for row in given]
    ids = iter(showing.encode([text for own in texts for text in own]))
    limit = showing.limit(running.model.config.get_text_config())
    rows = []
    for row, own in zip(given, texts, strict=True):
        tokens = tuple(tuple(next(ids)) for _ in own)
        longest = max(map(len, tokens))
        if longest > limit or not min(map(len, tokens)):
            raise StepError(
                f"row {row['row_id']}: a text of {longest} tokens, allowed are 1 to {limit}",
                hint="raise train.max_length (at most the model's positions), or leave such rows out in the SQL",
            )
        rows.append(HeadRow(row["row_id"], tokens, float(row["weight"]), objective.numbers(row)))
    return rows


class HeadCollator:
    """Makes the tensors of one planned batch, or of each of its parts of at most `micro` rows. A text that stands in several rows is
    read once: `place` (rows, texts of a row) says where."""

    def __init__(self, rows: Sequence[HeadRow], plan: list[list[int]], pad: int, micro: int | None) -> None:
        self.rows, self.plan, self.pad, self.micro = rows, plan, pad, micro

    def __call__(self, items: list[dict[str, int]]) -> dict[str, Any]:
        """`items` is one item: the number of the batch."""
        number = items[0]["batch"]
        rows = [self.rows[i] for i in self.plan[number]]
        size, total = self.micro or len(rows), sum(row.weight for row in rows)
        return {"batch": number, "parts": [self._part(number, rows[i : i + size], total) for i in range(0, len(rows), size)]}

    def _part(self, number: int, rows: Sequence[HeadRow], total: float) -> dict[str, Any]:
        texts = list(dict.fromkeys(text for row in rows for text in row.texts))
        where = {text: i for i, text in enumerate(texts)}
        shape = (len(texts), max(map(len, texts)))
        ids, mask = np.full(shape, self.pad), np.zeros(shape, dtype=np.int64)
        for i, text in enumerate(texts):
            ids[i, : len(text)], mask[i, : len(text)] = text, 1
        weights = np.array([row.weight for row in rows]) / total if total else np.full(len(rows), np.nan)
        return {
            "batch": number,
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "place": torch.tensor([[where[text] for text in row.texts] for row in rows]),
            "row_weights": torch.from_numpy(weights.astype(np.float32)),
            "numbers": {name: torch.tensor([row.numbers[name] for row in rows]) for name in rows[0].numbers},
        }


class HeadTrainer(Planned, RewardTrainer):
    """The loss of a batch is the mean of `objective.loss` over its rows by their weights."""

    def __init__(self, *, objective: HeadObjective, **more: Any) -> None:
        model, params = more["model"], objective.params
        if params.dropout:
            put(model, params.dropout, params.sites)
        config, names = model.config, dict(enumerate(objective.outputs))
        config.num_labels = 1  # all that TRL takes; the loss of several outputs is ours
        super().__init__(**more)
        config.id2label, config.label2id = names, {name: i for i, name in names.items()}
        self.objective = objective
        self._seen: dict[str, list[float]] = {}

    def _prepare_dataset(self, dataset: Any, *args: Any, **more: Any) -> Any:
        """The batches are tokenised already."""
        return dataset

    def held_out_loss(self) -> float:
        """As `Planned`, and logs what the head says of the rows that never train: held_out/accuracy and the like."""
        self._seen = {}
        loss = super().held_out_loss()
        rows = sum(map(len, self.consumed.plan[self.consumed.steps :]))
        self.numbers.put(self.state.global_step, {f"held_out/{name}": math.fsum(sums) / rows for name, sums in self._seen.items()})
        return loss

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The weighted loss of one batch, or of a part of one. StepError, naming its rows, where it is not finite."""
        number, weights = inputs.pop("batch"), inputs.pop("row_weights")
        place, numbers = inputs.pop("place"), inputs.pop("numbers")
        outputs = model(**inputs, use_cache=False).logits.float()
        values = HeadValues(outputs[place], numbers)
        loss = (self.objective.loss(values) * weights).sum()
        with torch.no_grad():
            logged = {name: float((column * weights).sum()) for name, column in self.objective.logged(values).items()}
        if number >= self.consumed.steps:
            rows = len(self.consumed.plan[number])
            for name, value in logged.items():
                self._seen.setdefault(name, []).append(value * rows)
        self.took(number, loss.item(), logged)
        return (loss, values) if return_outputs else loss
