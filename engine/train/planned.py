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
from engine.train import keepsakes
from engine.train.log import Log
from engine.train.micro import Taken, split
from engine.train.past import Past
from engine.train.schedules import learning_rate_ratio
from engine.train.state import PARTIAL, Consumed, publish


class Planned(Trainer):
    """Stands before a trainer of TRL in the list of bases. The data are the numbers of the batches of `consumed.plan`, one an item,
    in order; `compute_loss` of the trainer calls `took` with what the batch gave."""

    def __init__(
        self,
        *,
        how: Optimizer,
        consumed: Consumed,
        log: Log,
        progress: Progress,
        state: Path,
        past: Past | None = None,
        tokens: float = 0.0,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.past, self.tokens, self.looked = past or Past(), tokens, math.nan
        # not `log`: that is a method of transformers
        self.how, self.consumed, self.numbers, self.progress, self.state_folder = how, consumed, log, progress, state
        self.taken = Taken()
        for noisy in (PrinterCallback, ProgressCallback):
            self.remove_callback(noisy)

    def took(self, number: int, loss: float, numbers: dict[str, float]) -> None:
        """Batch `number` has been trained on, or one of the parts that `train.micro_batch` cuts it into, whose losses and numbers
        add up to those of the batch. StepError, naming its rows, where its loss is not finite."""
        if not math.isfinite(loss):
            raise self._broken("loss", loss, number)
        whole = self.taken.add(loss, numbers)
        if whole and number >= self.consumed.steps:  # a batch that is only looked at
            self.looked = whole["loss"]
        elif whole:
            if whole["loss"] > self.consumed.limit(self.how.diverge):
                raise self._broken("loss", whole["loss"], number, f", more than {self.how.diverge:g} times that of the first steps")
            self.consumed.add(number, whole["loss"])
            self.numbers.add(whole)

    def parts(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """The batch as what one forward pass takes at a time. A trainer whose tensors are not row by row overrides it, or its collator
        gives `parts` itself."""
        if "parts" in inputs:
            return inputs["parts"]
        size, rows = self.how.micro_batch, len(self.consumed.plan[inputs["batch"]])
        return split(inputs, rows, size) if size and size < rows else [inputs]

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
        value = float(norm)
        clipped = float(value > self.args.max_grad_norm)
        self.numbers.add({"grad_norm": value, "clipped": clipped, "learning_rate": float(self.lr_scheduler.get_last_lr()[0])})
        self.numbers.step(len(self.consumed.batches))
        return norm

    def _broken(self, what: str, value: float, batch: int, why: str = "") -> StepError:
        rows = self.consumed.rows(batch)
        return StepError(
            f"training step {batch + 1} of {self.consumed.steps}: the {what} is {value:.6g}{why}; rows of its batch: {', '.join(rows)}",
            hint="lower train.learning_rate or train.clip, and look at these rows with `rondo sql`",
        )

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **more: Any) -> torch.Tensor:
        """One optimizer step, shown as progress; the gradients of the parts of a batch add up."""
        pieces = self.parts(inputs)
        self.taken = Taken(len(pieces))
        loss = torch.zeros((), device=self.args.device)
        for piece in pieces:
            loss += super().training_step(model, piece, *args, **more)
        self.progress.advance(1)
        self.progress.figures(f"loss {self.consumed.last:.4g}")
        return loss

    def held_out_loss(self) -> float:
        """The mean loss a row of the batches that never train, without gradients; draws no random number of the training's."""
        model, found = self.model, []
        training, devices = model.training, [self.args.device] if self.args.device.type == "cuda" else []
        model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=devices), self.compute_loss_context_manager():
            for number in range(self.consumed.steps, len(self.consumed.plan)):
                pieces = self.parts(self.data_collator([{"batch": number}]))
                self.taken = Taken(len(pieces))
                for piece in pieces:
                    self.compute_loss(model, self._prepare_inputs(piece))
                found.append((self.looked, len(self.consumed.plan[number])))
        model.train(training)
        return math.fsum(loss * rows for loss, rows in found) / sum(rows for _, rows in found)

    def create_optimizer(self, *args: Any, **more: Any) -> Any:
        """The spec's optimizer, with the moments that it goes on from where there are any."""
        new = self.optimizer is None
        optimizer = super().create_optimizer(*args, **more)
        if new and self.past.moments:
            keepsakes.load_moments(self.model, self.optimizer, self.past.moments)
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The spec's schedule; transformers has no linear one that ends above zero."""
        if getattr(self, "lr_scheduler", None) is None:
            ratio = partial(learning_rate_ratio, total=num_training_steps, how=self.how, past=self.past, tokens=self.tokens)
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
