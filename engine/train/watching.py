"""What happens between the steps of a training: looks at rows that never train, and the trunk that is kept before a decay.

Loaded only when a training runs: importing transformers takes seconds.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from engine.disk import writing
from engine.errors import StepError
from engine.spec import EarlyStop
from engine.train import heldout, keepsakes
from engine.train.heldout import Look
from engine.train.keepsakes import MOMENTS

if TYPE_CHECKING:
    from engine.train.planned import Planned

BEST, WEIGHTS = re.compile(r"best-(\d+)"), "weights.safetensors"


def fresh(folder: Path, write: Callable[[Path], None]) -> None:
    """Fills a folder beside and renames it, over one of an earlier attempt: it is whole or not there."""
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    with writing("a trainer state", folder):
        partial.mkdir(parents=True)
        write(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)


class Watch(TrainerCallback):
    """Looks at the held-out rows every so many steps and at the end; ends the training when they say so.

    The weights of the best look lie in the state folder as best-<step>, and stay there until a trainer state names a better one, so
    that a killed training finds those that its state knows.
    """

    def __init__(self, trainer: Planned, how: EarlyStop, state: Path, moments: bool) -> None:
        self.trainer, self.how, self.state, self.moments = trainer, how, state, moments

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """A look, where one is due."""
        step, consumed = state.global_step, self.trainer.consumed
        if step % self.how.every and step < state.max_steps:
            return
        look = Look(step, self.trainer.held_out_loss(), consumed.loss_sum)
        consumed.looks.append(look)
        self.trainer.numbers.put(step, {"held_out/loss": look.loss})
        if self.how.keep == "best" and heldout.best(consumed.looks, self.how) is look:
            fresh(self.state / f"best-{step}", self._write)
        if heldout.over(consumed.looks, self.how) and step < state.max_steps:
            self.trainer.numbers.close(step)
            consumed.stopped = step
            # no state after the end: one that is killed from here on repeats the steps since the last state, and stops again
            control.should_training_stop, control.should_save = True, False

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """The state that was just saved names the best look so far: older ones go."""
        looks = self.trainer.consumed.looks
        keep = heldout.best(looks, self.how).step if looks else None
        for path in self.state.iterdir():
            if (match := BEST.fullmatch(path.name)) and int(match[1]) != keep:
                shutil.rmtree(path, ignore_errors=True)

    def finish(self) -> Look:
        """The look whose weights are kept, and those weights in the model (and their moments in the optimizer)."""
        looks = self.trainer.consumed.looks
        if self.how.keep == "last":
            return looks[-1]
        found = heldout.best(looks, self.how)
        if found.step < looks[-1].step:
            folder = self.state / f"best-{found.step}"
            if not folder.is_dir():
                raise StepError(
                    f"the weights of step {found.step} have vanished", where=str(folder), hint="remove the journal and run again"
                )
            weights = load_file(folder / WEIGHTS)
            for name, weight in self.trainer.model.named_parameters():
                if name in weights:
                    weight.data.copy_(weights[name])
            if self.moments:
                keepsakes.load_moments(self.trainer.model, self.trainer.optimizer, folder / MOMENTS)
        return found

    def _write(self, folder: Path) -> None:
        model = self.trainer.model
        trained = {name: weight.detach().cpu().contiguous() for name, weight in model.named_parameters() if weight.requires_grad}
        save_file(trained, folder / WEIGHTS)
        if self.moments:
            keepsakes.save_moments(model, self.trainer.optimizer, folder / MOMENTS)


class Trunk(TrainerCallback):
    """Keeps the whole model as it is after `step` steps, before the schedule's decay."""

    def __init__(self, trainer: Planned, step: int, folder: Path, write: Callable[[Path], None]) -> None:
        self.trainer, self.step, self.folder, self.write = trainer, step, folder, write

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Writes it, once."""
        if state.global_step == self.step:
            fresh(self.folder, self.write)
