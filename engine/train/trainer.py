"""TRL's SFT trainer with a weight a token.

Loaded only when a training runs: importing TRL takes seconds.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from trl import SFTTrainer

from engine.train.encode import Example
from engine.train.planned import Planned

IGNORED = -100  # TRL's label of a token that is no target
SMALL = 1 << 26  # logits: 256 MiB in float32


class Collator:
    """Makes the tensors of one planned batch: ids, mask and labels (rows, tokens), and weights that sum to 1 over its targets.

    `first` is the first column that has a target.
    """

    def __init__(self, examples: Sequence[Example], plan: list[list[int]], pad: int) -> None:
        self.examples, self.plan, self.pad = examples, plan, pad

    def __call__(self, items: list[dict[str, int]]) -> dict[str, Any]:
        """`items` is one item: the number of the batch."""
        number = items[0]["batch"]
        rows = [self.examples[i] for i in self.plan[number]]
        shape = (len(rows), max(len(row.ids) for row in rows))
        ids, mask, weights = np.full(shape, self.pad), np.zeros(shape, dtype=np.int64), np.zeros(shape)
        for i, row in enumerate(rows):
            length = len(row.ids)
            ids[i, :length], mask[i, :length], weights[i, :length] = row.ids, 1, row.weights
        weights[:, 0] = 0  # the first token follows nothing
        labels = np.where(weights > 0, ids, IGNORED)
        return {
            "batch": number,
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "labels": torch.from_numpy(labels),
            "first": int((weights > 0).argmax(axis=1).min()),
            "weights": torch.from_numpy((weights / weights.sum()).astype(np.float32)),
        }


class WeightedTrainer(Planned, SFTTrainer):
    """The loss of a batch is the mean over its target tokens of weight times negative log-likelihood, by the sum of weights.

    With equal weights that is TRL's mean over tokens.
    """

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        self.vocabulary = base.get_output_embeddings().weight.shape[0]
        self._keeps_logits = "logits_to_keep" in inspect.signature(type(base).forward).parameters

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The weighted loss of one batch in nats a token. StepError, naming its rows, where it is not finite."""
        number, weights, first = inputs.pop("batch"), inputs.pop("weights"), inputs.pop("first")
        if self._small(weights):
            loss, outputs = self._plain_loss(model, inputs, weights, first)
        else:
            outputs = model(**inputs, use_cache=False, fused_lm_head=True)
            loss = -(outputs.log_probs * weights[:, 1:]).sum()
            if self.aux_loss_enabled:  # mixtures of experts: the load-balancing loss, as TRL adds it
                loss = loss + self.router_aux_loss_coef * outputs.aux_loss * weights.sum()  # a part's share of it
        self.took(number, loss.item(), {})
        return (loss, outputs) if return_outputs else loss

    def _small(self, weights: torch.Tensor) -> bool:
        """Whether all logits of the batch fit easily, on a CPU, where TRL's head in tiles takes three times as long."""
        fits = weights.numel() * self.vocabulary <= SMALL
        return fits and weights.device.type == "cpu" and not self.aux_loss_enabled and self._keeps_logits

    def _plain_loss(self, model: Any, inputs: dict[str, Any], weights: torch.Tensor, first: int) -> tuple[torch.Tensor, Any]:
        """The same loss from the model's own logits, from position `first` - 1 on: before it no row of the batch has a target."""
        labels, own = inputs.pop("labels")[:, first:].flatten(), weights[:, first:].flatten()
        kept = torch.arange(first - 1, weights.shape[1] - 1)
        outputs = model(**inputs, use_cache=False, logits_to_keep=kept)
        nll = torch.nn.functional.cross_entropy(outputs.logits.flatten(0, 1).float(), labels, reduction="none", ignore_index=IGNORED)
        return (nll * own).sum(), outputs
