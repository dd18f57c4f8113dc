"""One training from its rows to a saved model, for any trainer of the house: plan, resume, run, count, save."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine import models
from engine.disk import writing
from engine.errors import StepError
from engine.train import Job, Trained
from engine.train.adapter import Adapter
from engine.train.continuing import Continuing
from engine.train.encode import Encoder
from engine.train.log import Log
from engine.train.settings import arguments, torch_seed
from engine.train.state import Consumed, newest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from engine.step import Device


class Running:
    """A model that is loaded to train, with its tokenizer. `ids` names the rows and `lengths` counts their tokens.

    `load` gives model and tokenizer for the job and a device, where it is not a folder's model as it stands."""

    def __init__(self, job: Job, kind: str = "CausalLM", load: Callable[[Job, Device], tuple[Any, Any]] | None = None) -> None:
        self.job, self.kind, self.started = job, kind, time.monotonic()
        # Weights that train are kept in float32 (half precision loses small updates); the frozen ones under an adapter are not.
        self.device = job.device if job.settings.lora else replace(job.device, dtype="float32")
        self.adapter = Adapter(job, job.settings.lora, kind) if job.settings.lora else None
        start = self.adapter.base if self.adapter else job.model
        if load:
            self.model, self.tokenizer = load(replace(job, model=start), self.device)
        else:
            self.model, self.tokenizer = models.load(start, self.device, job.trust_remote_code, kind=kind, train=True)
        self.going = Continuing(self)

    def encoder(self, mask: str) -> Encoder:
        """The encoder of this model; a row longer than both `max_length` and the model's positions is an error."""
        return encoder(self.model, self.tokenizer, mask=mask, chat=self.job.chat, longest=self.job.settings.max_length)

    def train(
        self, ids: Sequence[str], lengths: Sequence[int], make: Callable[[Consumed, Log], Any], batches: list[list[int]] | None = None
    ) -> Trained:
        """Trains by the plan, from the newest trainer state where there is one. `make` builds the trainer, best with `built`; `batches`
        is a plan of the objective's own, where rows must stay together."""
        job, going = self.job, self.going
        batches, held = going.split(list(ids), batches)
        consumed, log = Consumed(batches + held, list(ids), held=len(held)), Log(job.settings.log_every, len(batches))
        going.tokens = [sum(lengths[i] for i in batch) for batch in batches]
        job.state.mkdir(parents=True, exist_ok=True)
        found = newest(job.state)
        if found:
            consumed.restore(found, log)
        use_cache = getattr(self.model.config, "use_cache", None)
        job.progress.begin(job.label, len(batches), done=len(consumed.batches), unit="steps")
        trainer = make(consumed, log)
        going.watch(trainer)
        trainer.train(resume_from_checkpoint=str(found) if found else None)
        job.progress.end()
        consumed.check()
        if use_cache is not None:  # switched off while training; generation wants it as it was
            trainer.model.config.use_cache = use_cache
        steps, loss_sum = going.finish(trainer)
        settings = going.keep(trainer)  # before an adapter is merged
        self._save(trainer.model)
        return Trained(
            folder=job.out,
            row_ids=[row for batch in consumed.batches[:steps] for row in consumed.rows(batch)],
            rows_expected=sum(map(len, batches[:steps])),
            tokens=sum(going.tokens[:steps]),
            steps=steps,
            loss=loss_sum / steps,
            seconds=time.monotonic() - self.started,
            detail=({"resumed_at": int(found.name.rpartition("-")[2])} if found else {}) | going.detail,
            log=log.rows,
            settings=settings,
        )

    def arguments(self) -> dict[str, Any]:
        """Arguments of any TRL config."""
        job = self.job
        if job.device.device.startswith("cuda"):
            import torch

            torch.cuda.set_device(job.device.device)
        seed = torch_seed(job.seed, job.round, job.settings.role)
        return arguments(job.settings, job.device, seed=seed, state=job.state, peak=job.past.peak)

    def built(self, trainer: Callable[..., Any], config: Any, consumed: Consumed, log: Log, **more: Any) -> Any:
        """`trainer` (see `engine.train.planned`) on the plan's batches, on one device, with the adapter that the spec asks for.

        StepError where TRL or PEFT refuse the settings."""
        config._n_gpu = min(config.n_gpu, 1)  # one process trains on one device, also where more are visible
        adapter = self.adapter
        try:
            made = trainer(args=config, peft_config=adapter.config(self.model) if adapter else None, **self._common(consumed, log), **more)
            if adapter:
                adapter.begin(made, more.get("data_collator"), consumed.steps)
            return made
        except ValueError as error:  # PEFT and TRL say so when an adapter cannot be put on the named modules
            raise StepError(
                f"the trainer refuses these settings: {error}",
                where=f"train, role {self.job.settings.role}",
                hint="look at train.lora: targets, r, init",
            ) from error

    @property
    def pad(self) -> int:
        """The token that fills rows up."""
        return self.tokenizer.eos_token_id if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id

    def _common(self, consumed: Consumed, log: Log) -> dict[str, Any]:
        from datasets import Dataset

        return {
            "how": self.job.settings,
            "consumed": consumed,
            "log": log,
            "progress": self.job.progress,
            "state": self.job.state,
            "past": self.job.past,
            "tokens": self.going.tokens_a_step,
            "model": self.model,
            "processing_class": self.tokenizer,
            "train_dataset": Dataset.from_dict({"batch": list(range(consumed.steps))}),
        }

    def _save(self, model: Any) -> None:
        """Model (an adapter merged into it) in the experiment's dtype as safetensors, or the adapter alone, and tokenizer, into
        `job.out`."""
        import torch

        job, adapter = self.job, self.adapter
        if adapter and adapter.kept:
            model = model.to(device="cpu")
        else:
            model = (model.merge_and_unload() if adapter else model).to(device="cpu", dtype=getattr(torch, job.device.dtype))
        broken = next((name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()), None)
        if broken:
            raise StepError(f"the trained weights of {broken} are not finite in {job.device.dtype}", hint="lower train.learning_rate")
        with writing("the checkpoint", job.out):
            adapter.save(model, job.out) if adapter and adapter.kept else model.save_pretrained(job.out)
            self.tokenizer.save_pretrained(job.out)


def encoder(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, mask: str, chat: bool | None, longest: int) -> Encoder:
    """The encoder that a model trains and is read with; at most `longest` tokens a row, and no more than the model has positions."""
    ends = model.generation_config.eos_token_id if getattr(model, "generation_config", None) else None
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or longest
    return Encoder(tokenizer, mask=mask, chat=chat, ends=[ends] if isinstance(ends, int) else ends or [], limit=min(longest, positions))
