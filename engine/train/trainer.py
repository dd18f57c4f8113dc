"""TRL's SFT trainer with a weight a token, batches that are planned, and states that survive a kill.

Loaded only when a training runs: importing TRL takes seconds.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, ProgressCallback, Trainer
from trl import SFTTrainer

from engine.disk import writing
from engine.errors import StepError
from engine.spec import Optimizer
from engine.step import Progress
from engine.train.encode import Example
from engine.train.settings import learning_rate_ratio
from engine.train.state import PARTIAL, Consumed, publish

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


class WeightedTrainer(SFTTrainer):
    """The loss of a batch is the mean over its target tokens of weight times negative log-likelihood, by the sum of weights.

    With equal weights that is TRL's mean over tokens. `consumed` records each batch as it is trained on.
    """

    def __init__(self, *, how: Optimizer, consumed: Consumed, progress: Progress, state: Path, **more: Any) -> None:
        super().__init__(**more)
        self.how, self.consumed, self.progress, self.state_folder = how, consumed, progress, state
        for noisy in (PrinterCallback, ProgressCallback):
            self.remove_callback(noisy)
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        self.vocabulary = base.get_output_embeddings().weight.shape[0]
        self._keeps_logits = "logits_to_keep" in inspect.signature(type(base).forward).parameters

    def _send_telemetry(self) -> None:
        """Sends nothing: TRL would tell its makers about every training."""

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: it walks over all parameters at every step, and nothing reads it."""
        return 0

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """The sampler of the batches. StepError unless it takes them one after the other: their order is the plan's."""
        sampler = super()._get_train_sampler(train_dataset)
        if not isinstance(sampler, SequentialSampler):
            raise StepError(
                f"training needs a sequential sampler, since the batches are already in order; found {type(sampler).__name__}",
                hint="this release of transformers chooses samplers in another way: please report it with `rondo env`",
            )
        return sampler

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The weighted loss of one batch in nats a token. StepError, naming its rows, where it is not finite."""
        number, weights, first = inputs.pop("batch"), inputs.pop("weights"), inputs.pop("first")
        if self._small(weights):
            loss, outputs = self._plain_loss(model, inputs, weights, first)
        else:
            outputs = model(**inputs, use_cache=False, fused_lm_head=True)
            loss = -(outputs.log_probs * weights[:, 1:]).sum()
            if self.aux_loss_enabled:  # mixtures of experts: the load-balancing loss, as TRL adds it
                loss = loss + self.router_aux_loss_coef * outputs.aux_loss
        value = loss.item()
        if not math.isfinite(value):
            raise self._broken("loss", value, number)
        self.consumed.add(number, value)
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

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        # In float16 the scaler itself skips steps whose gradients overflow.
        if not self.args.fp16 and not math.isfinite(norm):
            raise self._broken("gradient norm", float(norm), self.consumed.batches[-1])
        return norm

    def _broken(self, what: str, value: float, batch: int) -> StepError:
        rows = self.consumed.rows(batch)
        return StepError(
            f"training step {batch + 1} of {len(self.consumed.plan)}: the {what} is {value}; rows of its batch: {', '.join(rows)}",
            hint="lower train.learning_rate or train.clip, and look at these rows with `rondo sql`",
        )

    def training_step(self, *args: Any, **more: Any) -> torch.Tensor:
        """One optimizer step, shown as progress."""
        loss = super().training_step(*args, **more)
        self.progress.advance(1)
        return loss

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The spec's schedule; transformers has no linear one that ends above zero."""
        if getattr(self, "lr_scheduler", None) is None:
            ratio = partial(learning_rate_ratio, total=num_training_steps, how=self.how)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, ratio)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.state_folder / PARTIAL)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes a state beside the others and renames it; without TRL's model card."""
        name = f"checkpoint-{self.state.global_step}"
        with writing("a trainer state", self.state_folder):
            Trainer._save_checkpoint(self, model, trial)
            self.consumed.save(self.state_folder / PARTIAL / name)
            publish(self.state_folder, name)
