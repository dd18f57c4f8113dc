"""TRL's DPO trainer on planned batches of pairs, with the house's losses, row weights, and reference values from columns.

Loaded only when a training runs: importing TRL takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from trl import DPOConfig, DPOTrainer

from engine.train import Job, Trained, sides
from engine.train.head import Head
from engine.train.log import Log
from engine.train.pairrows import Pair, encoded
from engine.train.pairwise import PairObjective, PairValues
from engine.train.planned import Planned
from engine.train.running import Running
from engine.train.state import Consumed

SUMMED = ("chosen", "third")  # sides whose likelihood a loss may take over all tokens of a batch


def train(job: Job, objective: PairObjective) -> Trained:
    """Trains the model of `job` on its pairs. Dropout is off, as in TRL, in the model and in an adapter: the reference has none."""
    running = Running(job)
    pairs = encoded(job.rows, running, objective)

    def make(consumed: Consumed, log: Log) -> PairTrainer:
        config = DPOConfig(**running.arguments(), max_length=None, precompute_ref_log_probs=True, disable_dropout=True)
        collator = PairCollator(pairs, consumed.plan, running.pad)
        return running.built(PairTrainer, config, consumed, log, data_collator=collator, objective=objective)

    return running.train([pair.row_id for pair in pairs], [sum(len(side.ids) for side in pair.sides) for pair in pairs], make)


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
        own /= own.sum()
        tokens = dict(zip(sides.SIDES, weights.sum(axis=1).reshape(-1, len(pairs)) @ own, strict=False))
        return {
            "batch": number,
            "first": int((weights > 0).argmax(axis=1).min()),
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "weights": torch.from_numpy(weights),
            "row_weights": torch.from_numpy(own),
            "mean_tokens": {side: float(tokens[side]) for side in SUMMED if side in tokens},
            "numbers": {name: torch.tensor([pair.numbers[name] for pair in pairs]) for name in pairs[0].numbers},
        }


class PairTrainer(Planned, DPOTrainer):
    """The loss of a batch is the mean of `objective.loss` over its rows by their weights. No reference model is held: its values are
    columns of the rows."""

    def __init__(self, *, objective: PairObjective, **more: Any) -> None:
        super().__init__(**more)
        self.objective = objective
        self.head = Head(self.model, aux=self.aux_loss_enabled)

    def _prepare_dataset(self, dataset: Any, *args: Any, **more: Any) -> Any:
        """The batches are tokenised already."""
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *args: Any, **more: Any) -> Any:
        """Reference values are columns of the rows."""
        return dataset

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The weighted loss of one batch. StepError, naming its rows, where it is not finite."""
        number, row_weights = inputs.pop("batch"), inputs.pop("row_weights")
        values, aux = self.values(model, inputs)
        loss = (self.objective.loss(values) * row_weights).sum()
        if aux is not None:  # mixtures of experts: the load-balancing loss, as TRL adds it; of a part of a batch, its share
            loss = loss + self.router_aux_loss_coef * aux * row_weights.sum()
        self.took(number, *self._numbers(loss, values, row_weights))
        return (loss, values) if return_outputs else loss

    def values(self, model: Any, inputs: dict[str, Any]) -> tuple[PairValues, torch.Tensor | None]:
        """What the model says of the pairs of a batch, and the load-balancing loss of a mixture of experts."""
        weights, numbers, mean_tokens, first = (inputs.pop(name) for name in ("weights", "numbers", "mean_tokens", "first"))
        found, aux = self.head(model, inputs, weights, first)
        logps, tokens = (found * weights[:, first:]).sum(dim=1), weights.sum(dim=1)
        width = len(logps) // (3 if self.objective.third else 2)
        (chosen, rejected, *third), (*counts,) = logps.split(width), tokens.split(width)
        made = PairValues(
            chosen=chosen,
            rejected=rejected,
            chosen_tokens=counts[0],
            rejected_tokens=counts[1],
            ref_chosen=numbers.get("ref_chosen"),
            ref_rejected=numbers.get("ref_rejected"),
            third=third[0] if third else None,
            third_tokens=counts[2] if third else None,
            numbers=numbers,
            mean_tokens=mean_tokens,
        )
        return made, aux

    @torch.no_grad()
    def _numbers(self, loss: torch.Tensor, values: PairValues, weights: torch.Tensor) -> tuple[float, dict[str, float]]:
        """The loss, and means over the batch by row weight: rewards, their margin, how often the chosen one is higher, log-probabilities,
        and where there is a reference the mean log-ratio a token (the k1 estimate of the KL divergence, were both answers drawn from the
        model).
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
        means = (torch.stack(list(columns.values())).to(weights.dtype) * weights).sum(dim=1)
        first, *others = torch.cat([loss.reshape(1).to(weights.dtype), means]).tolist()  # one transfer from the device a step
        return first, dict(zip(columns, others, strict=True))
