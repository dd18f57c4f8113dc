"""What every trainer of the house shares: batches that are planned, states that survive a kill, a log, and no number that is not finite.

Loaded only when a training runs: importing transformers takes seconds.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, ProgressCallback, Trainer

from engine.disk import writing
from engine.errors import StepError
from engine.spec import Optimizer
from engine.step import Progress
from engine.train.log import Log
from engine.train.settings import learning_rate_ratio
from engine.train.state import PARTIAL, Consumed, publish


class Planned(Trainer):
    """Stands before a trainer of TRL in the list of bases. The data are the numbers of the batches of `consumed.plan`, one an item,
    in order; `compute_loss` of the trainer calls `took` with what the batch gave."""

    def __init__(self, *, how: Optimizer, consumed: Consumed, log: Log, progress: Progress, state: Path, **more: Any) -> None:
        super().__init__(**more)
        # not `log`: that is a method of transformers
        self.how, self.consumed, self.numbers, self.progress, self.state_folder = how, consumed, log, progress, state
        for noisy in (PrinterCallback, ProgressCallback):
            self.remove_callback(noisy)

    def took(self, number: int, loss: float, numbers: dict[str, float]) -> None:
        """Batch `number` has been trained on. StepError, naming its rows, where its loss is not finite."""
        if not math.isfinite(loss):
            raise self._broken("loss", loss, number)
        self.consumed.add(number, loss)
        self.numbers.add({"loss": loss, **numbers})

    def _send_telemetry(self) -> None:
        """Sends nothing: TRL would tell its makers about every training."""

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: it walks over all parameters at every step, and nothing reads it."""
        return 0

    def _set_signature_columns_if_needed(self) -> None:
        """Nothing to guess: the only column is the number of the batch."""
        self._signature_columns = ["batch"]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """The sampler of the batches. StepError unless it takes them one after the other: their order is the plan's."""
        sampler = super()._get_train_sampler(train_dataset)
        if not isinstance(sampler, SequentialSampler):
            raise StepError(
                f"training needs a sequential sampler, since the batches are already in order; found {type(sampler).__name__}",
                hint="this release of transformers chooses samplers in another way: please report it with `rondo env`",
            )
        return sampler

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        # In float16 the scaler itself skips steps whose gradients overflow.
        if not self.args.fp16 and not math.isfinite(norm):
            raise self._broken("gradient norm", float(norm), self.consumed.batches[-1])
        self.numbers.add({"grad_norm": float(norm), "learning_rate": float(self.lr_scheduler.get_last_lr()[0])})
        self.numbers.step(len(self.consumed.batches))
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
            self.consumed.save(self.state_folder / PARTIAL / name, self.numbers)
            publish(self.state_folder, name)
