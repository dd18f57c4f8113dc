"""One training from its rows to a saved model, for any trainer of the house: plan, resume, run, count, save."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine import models
from engine.disk import writing
from engine.errors import StepError
from engine.spec import Lora
from engine.train import Job, Trained
from engine.train.encode import Encoder
from engine.train.log import Log
from engine.train.order import as_selected, plan
from engine.train.settings import arguments, torch_seed
from engine.train.state import Consumed, newest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Running:
    """A model that is loaded to train, with its tokenizer. `ids` names the rows and `lengths` counts their tokens."""

    def __init__(self, job: Job, kind: str = "CausalLM") -> None:
        self.job, self.started = job, time.monotonic()
        # Weights that train are kept in float32 (half precision loses small updates); the frozen ones under an adapter are not.
        self.device = job.device if job.settings.lora else replace(job.device, dtype="float32")
        self.model, self.tokenizer = models.load(job.model, self.device, job.trust_remote_code, kind=kind, train=True)

    def encoder(self, mask: str) -> Encoder:
        """The encoder of this model; a row longer than both `max_length` and the model's positions is an error."""
        return encoder(self.model, self.tokenizer, mask=mask, chat=self.job.chat, longest=self.job.settings.max_length)

    def train(self, ids: Sequence[str], lengths: Sequence[int], make: Callable[[Consumed, Log], Any]) -> Trained:
        """Trains by the plan, from the newest trainer state where there is one. `make` builds the trainer, best with `built`."""
        job = self.job
        batches = _batches(job, list(ids))
        consumed, log = Consumed(batches, list(ids)), Log(job.settings.log_every, len(batches))
        job.state.mkdir(parents=True, exist_ok=True)
        found = newest(job.state)
        if found:
            consumed.restore(found, log)
        use_cache = getattr(self.model.config, "use_cache", None)
        job.progress.begin(job.label, len(batches), done=len(consumed.batches), unit="steps")
        trainer = make(consumed, log)
        trainer.train(resume_from_checkpoint=str(found) if found else None)
        job.progress.end()
        consumed.check()
        if use_cache is not None:  # switched off while training; generation wants it as it was
            trainer.model.config.use_cache = use_cache
        self._save(trainer.model)
        return Trained(
            folder=job.out,
            row_ids=consumed.order(),
            rows_expected=sum(map(len, batches)),
            tokens=sum(lengths[i] for batch in batches for i in batch),
            steps=len(batches),
            loss=consumed.loss_sum / len(batches),
            seconds=time.monotonic() - self.started,
            detail={"resumed_at": int(found.name.rpartition("-")[2])} if found else {},
            log=log.rows,
        )

    def arguments(self) -> dict[str, Any]:
        """Arguments of any TRL config."""
        job = self.job
        if job.device.device.startswith("cuda"):
            import torch

            torch.cuda.set_device(job.device.device)
        return arguments(job.settings, job.device, seed=torch_seed(job.seed, job.round, job.settings.role), state=job.state)

    def built(self, trainer: Callable[..., Any], config: Any, consumed: Consumed, log: Log, **more: Any) -> Any:
        """`trainer` (see `engine.train.planned`) on the plan's batches, on one device, with the adapter that the spec asks for.

        StepError where TRL or PEFT refuse the settings."""
        config._n_gpu = min(config.n_gpu, 1)  # one process trains on one device, also where more are visible
        lora = self.job.settings.lora
        try:
            return trainer(args=config, peft_config=_adapter(lora) if lora else None, **self._common(consumed, log), **more)
        except ValueError as error:  # PEFT and TRL say so when an adapter cannot be put on the named modules
            raise StepError(
                f"the trainer refuses these settings: {error}",
                where=f"train, role {self.job.settings.role}",
                hint="look at train.lora.targets",
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
            "model": self.model,
            "processing_class": self.tokenizer,
            "train_dataset": Dataset.from_dict({"batch": list(range(len(consumed.plan)))}),
        }

    def _save(self, model: Any) -> None:
        """Model (an adapter merged into it) in the experiment's dtype as safetensors, and tokenizer, into `job.out`."""
        import torch

        job = self.job
        if job.settings.lora:
            model = model.merge_and_unload()
        model = model.to(device="cpu", dtype=getattr(torch, job.device.dtype))
        broken = next((name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()), None)
        if broken:
            raise StepError(f"the trained weights of {broken} are not finite in {job.device.dtype}", hint="lower train.learning_rate")
        with writing("the checkpoint", job.out):
            model.save_pretrained(job.out)
            self.tokenizer.save_pretrained(job.out)


def encoder(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, mask: str, chat: bool | None, longest: int) -> Encoder:
    """The encoder that a model trains and is read with; at most `longest` tokens a row, and no more than the model has positions."""
    ends = model.generation_config.eos_token_id if getattr(model, "generation_config", None) else None
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or longest
    return Encoder(tokenizer, mask=mask, chat=chat, ends=[ends] if isinstance(ends, int) else ends or [], limit=min(longest, positions))


def _batches(job: Job, ids: list[str]) -> list[list[int]]:
    """Row numbers of every batch: by lot, or as the selection ordered the rows."""
    how = job.settings
    if how.order == "selected":
        orders = job.rows["order"].to_pylist()
        return as_selected(ids, orders, batch_size=how.batch_size, epochs=how.epochs, max_steps=how.max_steps)
    return plan(ids, batch_size=how.batch_size, epochs=how.epochs, max_steps=how.max_steps, seed=job.seed, round_=job.round)


def _adapter(lora: Lora) -> Any:
    from peft import LoraConfig

    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    return LoraConfig(r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM")
