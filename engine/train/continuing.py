"""What one training does of `engine.parts.continuing`: rows held out, half of the tensors frozen, a trunk and moments kept for later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import models
from engine.errors import StepError
from engine.train import Job, halving, heldout, keepsakes
from engine.train.keepsakes import MOMENTS, TRUNK
from engine.train.order import as_selected, plan
from engine.train.schedules import placed

if TYPE_CHECKING:
    from engine.train.planned import Planned
    from engine.train.running import Running
    from engine.train.watching import Watch


class Continuing:
    """Goes along with a `Running`: before its plan, while it trains and before it saves. `detail` is what the step says of it,
    `tokens` how many each batch of the plan has."""

    def __init__(self, running: Running) -> None:
        self.running, self.job, self.tokens = running, running.job, list[int]()
        self.detail: dict[str, Any] = dict(self.job.past.detail)
        self.frozen: list[str] = []
        self._watch: Watch | None = None
        self._cache = getattr(running.model.config, "use_cache", None)  # before the trainer switches it off
        if half := self.job.settings.half:
            self.frozen = halving.freeze(running.model, half, seed=self.job.seed, round_=self.job.round)

    @property
    def tokens_a_step(self) -> float:
        """Mean tokens of a batch."""
        return sum(self.tokens) / len(self.tokens) if self.tokens else 0.0

    def split(self, ids: list[str], batches: list[list[int]] | None) -> tuple[list[list[int]], list[list[int]]]:
        """Row numbers of the batches that train, and of those that never do. StepError for rows held out of a plan (`batches`) that
        is the objective's own."""
        how = self.job.settings
        if not how.hold_out:
            return batches or _batches(self.job, ids, list(range(len(ids)))), []
        if batches:
            raise StepError(
                f"train.hold_out: the objective {how.objective} plans its batches itself, so no row of them can be held out",
                hint="leave hold_out out, or let the selection choose fewer rows",
            )
        out = heldout.held(ids, how.hold_out.share, self.job.seed)
        kept = sorted(set(range(len(ids))) - set(out))
        self.detail["held_out"] = len(out)
        return _batches(self.job, ids, kept), [out[i : i + how.batch_size] for i in range(0, len(out), how.batch_size)]

    def watch(self, trainer: Planned) -> None:
        """Looks on while `trainer` trains."""
        how, steps = self.job.settings, trainer.consumed.steps
        if how.hold_out:
            from engine.train.watching import Watch

            self._watch = Watch(trainer, how.hold_out, self.job.state, how.optimizer_state == "carried")
            trainer.add_callback(self._watch)
        if how.schedule_over == TRUNK:
            from engine.train.watching import Trunk

            cut = steps - placed(0, steps, how, self.job.past).decay
            if cut < 1:
                raise StepError(
                    f"schedule_over: trunk: of {steps} steps all would decay, so there are no weights before the decay",
                    hint="lower train.shape.decay_share, or train for more steps",
                )
            self._cut = cut
            trainer.add_callback(Trunk(trainer, cut, self.job.state / TRUNK, lambda folder: self._write(trainer, folder)))

    def finish(self, trainer: Planned) -> tuple[int, float]:
        """Puts the weights that are kept into the model; how many steps made them, and the sum of the losses of these."""
        consumed = trainer.consumed
        if not self._watch:
            return len(consumed.batches), consumed.loss_sum
        look = self._watch.finish()
        self.detail |= {"held_out_loss": look.loss, "kept_step": look.step, "steps_run": len(consumed.batches)}
        self.detail |= {"stopped_early": consumed.stopped is not None}
        return look.step, look.loss_sum

    def keep(self, trainer: Planned) -> dict[str, Any]:
        """Moves what later rounds need beside the saved model; what `settings` of the checkpoint say of it."""
        how, out, found = self.job.settings, self.job.out, dict[str, Any]()
        if self.frozen:
            found["frozen"] = self.frozen
            self.detail |= {"frozen": self.frozen, "trained_tensors": [n for n, p in trainer.model.named_parameters() if p.requires_grad]}
        moments = self.job.state / MOMENTS
        if how.schedule_over == TRUNK:
            folder = self.job.state / TRUNK
            if not folder.is_dir():
                raise StepError("the weights before the decay have vanished", where=str(folder), hint="remove this journal and run again")
            moments = folder / MOMENTS
            past, digest = self.job.past, models.digest(folder)
            found[TRUNK] = {"steps": past.steps + self._cut, "tokens": past.tokens + sum(self.tokens[: self._cut])}
            found[TRUNK]["digest"] = keepsakes.keep(folder, out, TRUNK, digest)
            self.detail[TRUNK] = found[TRUNK]
        elif how.optimizer_state == "carried":
            keepsakes.save_moments(trainer.model, trainer.optimizer, moments)
        if how.optimizer_state == "carried":
            found[MOMENTS] = {"digest": keepsakes.keep(moments, out, MOMENTS, keepsakes.file_digest(moments))}
        return found

    def _write(self, trainer: Planned, folder: Path) -> None:
        """The whole model as it is now, in float32, with what generation wants set as it was before the training."""
        model, during = trainer.model, getattr(trainer.model.config, "use_cache", None)
        if self._cache is not None:
            model.config.use_cache = self._cache
        model.save_pretrained(folder)
        self.running.tokenizer.save_pretrained(folder)
        if during is not None:
            model.config.use_cache = during
        if self.job.settings.optimizer_state == "carried":
            keepsakes.save_moments(model, trainer.optimizer, folder / MOMENTS)


def _batches(job: Job, ids: list[str], kept: list[int]) -> list[list[int]]:
    """Row numbers of every batch of the rows `kept`: by lot, or as the selection ordered them."""
    how, names = job.settings, [ids[i] for i in kept]
    if how.order == "selected":
        every = job.rows["order"].to_pylist()
        orders = [every[i] for i in kept]
        found = as_selected(names, orders, batch_size=how.batch_size, epochs=how.epochs, max_steps=how.max_steps)
    else:
        found = plan(names, batch_size=how.batch_size, epochs=how.epochs, max_steps=how.max_steps, seed=job.seed, round_=job.round)
    return [[kept[i] for i in batch] for batch in found]
