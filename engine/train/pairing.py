"""TRL's DPO trainer on planned batches of pairs, with the house's losses, row weights, and reference values from columns.

Loaded only when a training runs: importing TRL takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from trl import DPOConfig, DPOTrainer

from engine.errors import StepError
from engine.train import Job, Trained, sides
from engine.train.encode import Example
from engine.train.log import Log
from engine.train.pairwise import PairObjective, PairValues, numbers_of
from engine.train.planned import Planned
from engine.train.running import Running
from engine.train.state import Consumed

REFERENCE = {"ref_chosen": "ref_chosen_logps", "ref_rejected": "ref_rejected_logps"}


@dataclass(frozen=True)
class Pair:
    """A pair ready to train: its sides as token ids with weights, and its numbers."""

    row_id: str
    sides: tuple[Example, ...]
    weight: float
    numbers: Mapping[str, float]


def train(job: Job, objective: PairObjective) -> Trained:
    """Trains the model of `job` on its pairs."""
    running = Running(job)
    pairs = encoded(job.rows, running, objective)

    def make(consumed: Consumed, log: Log) -> PairTrainer:
        config = DPOConfig(**running.arguments(), max_length=None, precompute_ref_log_probs=True, disable_dropout=True)
        collator = PairCollator(pairs, consumed.plan, running.pad)
        return running.built(PairTrainer, config, consumed, log, data_collator=collator, objective=objective)

    return running.train([pair.row_id for pair in pairs], [sum(len(side.ids) for side in pair.sides) for pair in pairs], make)


def encoded(rows: pa.Table, running: Running, objective: PairObjective) -> list[Pair]:
    """Every row of `pairs` as the objective needs it. StepError, naming a row, where one lacks a side or a number."""
    encoder = running.encoder(sides.MASK)
    names = sides.SIDES if objective.third else sides.SIDES[:2]
    for side in names:
        if rows[side].null_count:
            raise StepError(
                f"the objective trains on {', '.join(names)}, and {rows[side].null_count} of {rows.num_rows} pairs have no {side} answer",
                hint="let the SQL of `pairs` give it, or choose another objective",
            )
    found = [encoder.encode(sides.rows(rows, side, running.job.settings.mask)) for side in names]
    wanted = tuple(objective.columns)
    pairs = []
    for i, row in enumerate(rows.select(["row_id", "weight", "probability", "margin", "extra", *REFERENCE.values()]).to_pylist()):
        numbers = numbers_of(row, wanted)
        if objective.reference == "values":
            numbers |= {name: row[column] for name, column in REFERENCE.items()}
        known = {name: value for name, value in numbers.items() if value is not None and np.isfinite(value)}
        if lost := [name for name in numbers if name not in known]:
            raise StepError(
                f"pair {row['row_id']} has no {lost[0]}, which the objective needs",
                hint="let the SQL of `pairs` give it, as a column or as an entry of extra"
                if lost[0] in wanted
                else "look at train.reference",
            )
        pairs.append(Pair(row["row_id"], tuple(side[i] for side in found), row["weight"], known))
    return pairs


class PairCollator:
    """Makes the tensors of one planned batch: rows are the chosen sides, then the rejected, then the third."""

    def __init__(self, pairs: Sequence[Pair], plan: list[list[int]], pad: int) -> None:
        self.pairs, self.plan, self.pad = pairs, plan, pad

    def __call__(self, items: list[dict[str, int]]) -> dict[str, Any]:
        """`items` is one item: the number of the batch."""
        number = items[0]["batch"]
        pairs = [self.pairs[i] for i in self.plan[number]]
        rows = [pair.sides[k] for k in range(len(pairs[0].sides)) for pair in pairs]
        shape = (len(rows), max(len(row.ids) for row in rows))
        ids, mask, weights = np.full(shape, self.pad), np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
        for i, row in enumerate(rows):
            length = len(row.ids)
            ids[i, :length], mask[i, :length], weights[i, :length] = row.ids, 1, row.weights
        weights[:, 0] = 0  # the first token follows nothing
        own = np.array([pair.weight for pair in pairs], dtype=np.float32)
        return {
            "batch": number,
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "weights": torch.from_numpy(weights),
            "row_weights": torch.from_numpy(own / own.sum()),
            "numbers": {name: torch.tensor([pair.numbers[name] for pair in pairs]) for name in pairs[0].numbers},
        }


class PairTrainer(Planned, DPOTrainer):
    """The loss of a batch is the mean of `objective.loss` over its rows by their weights. No reference model is held: its values are
    columns of the rows."""

    def __init__(self, *, objective: PairObjective, **more: Any) -> None:
        super().__init__(**more)
        self.objective = objective

    def _prepare_dataset(self, dataset: Any, *args: Any, **more: Any) -> Any:
        """The batches are tokenised already."""
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *args: Any, **more: Any) -> Any:
        """Reference values are columns of the rows."""
        return dataset

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The weighted loss of one batch. StepError, naming its rows, where it is not finite."""
        number, row_weights = inputs.pop("batch"), inputs.pop("row_weights")
        values = self.values(model, inputs)
        loss = (self.objective.loss(values) * row_weights).sum()
        self.took(number, loss.item(), self._numbers(values, row_weights))
        return (loss, values) if return_outputs else loss

    def values(self, model: Any, inputs: dict[str, Any]) -> PairValues:
        """What the model says of the pairs of a batch."""
        weights, numbers = inputs.pop("weights"), inputs.pop("numbers")
        labels = inputs["input_ids"].masked_fill(weights == 0, -100)
        outputs = model(**inputs, labels=labels, use_cache=False, fused_lm_head=True)
        logps, tokens = (outputs.log_probs * weights[:, 1:]).sum(dim=1), weights.sum(dim=1)
        width = len(logps) // (3 if self.objective.third else 2)
        (chosen, rejected, *third), (*counts,) = logps.split(width), tokens.split(width)
        return PairValues(
            chosen=chosen,
            rejected=rejected,
            chosen_tokens=counts[0],
            rejected_tokens=counts[1],
            ref_chosen=numbers.get("ref_chosen"),
            ref_rejected=numbers.get("ref_rejected"),
            third=third[0] if third else None,
            third_tokens=counts[2] if third else None,
            numbers=numbers,
        )

    @torch.no_grad()
    def _numbers(self, values: PairValues, weights: torch.Tensor) -> dict[str, float]:
        """Means over the batch by row weight: rewards, their margin, how often the chosen one is higher, log-probabilities, and where
        there is a reference the mean log-ratio a token (the k1 estimate of the KL divergence, were both answers drawn from the model).
        """
        chosen, rejected = self.objective.rewards(values)
        columns = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": (chosen > rejected).to(chosen.dtype),
            "logps/chosen": values.chosen,
            "logps/rejected": values.rejected,
        }
        if values.ref_chosen is not None:
            tokens = values.chosen_tokens + values.rejected_tokens
            columns["kl"] = (values.chosen_ratio + values.rejected_ratio) / tokens
        means = torch.stack([(column * weights).sum() for column in columns.values()]).tolist()
        return dict(zip(columns, means, strict=True))
