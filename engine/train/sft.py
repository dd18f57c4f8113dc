"""Supervised fine-tuning on weighted demonstrations: TRL's SFTTrainer, adapters through PEFT."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from engine import models
from engine.disk import writing
from engine.errors import StepError
from engine.spec import Lora, Part
from engine.train import Job, Trained, objectives
from engine.train.encode import Encoder, Example
from engine.train.order import as_selected, plan
from engine.train.settings import arguments, torch_seed
from engine.train.state import Consumed, newest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Params(Part):
    """This objective has no settings of its own."""


@objectives.register("sft")
class Sft:
    """Minimises the weighted mean negative log-likelihood of the target tokens (see `engine.train.trainer`)."""

    revision = 1
    reads: Literal["selected", "pairs"] = "selected"
    Params = Params

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on rows of `selected`; see `engine.train.Objective`."""
        from engine.train.quiet import quiet

        with quiet():
            return _train(job)


def _train(job: Job) -> Trained:
    start, how = time.monotonic(), job.settings
    # Weights that train are kept in float32 (half precision loses small updates); the frozen ones under an adapter are not.
    device = job.device if how.lora else replace(job.device, dtype="float32")
    model, tokenizer = models.load(job.model, device, job.trust_remote_code, train=True)
    examples = _examples(job, model, tokenizer)
    ids, lengths = [e.row_id for e in examples], [len(e.ids) for e in examples]
    batches = _batches(job, ids)
    consumed = Consumed(batches, ids)
    job.state.mkdir(parents=True, exist_ok=True)
    found = newest(job.state)
    if found:
        consumed.restore(found)
    use_cache = getattr(model.config, "use_cache", None)
    job.progress.begin(job.label, len(batches), done=len(consumed.batches), unit="steps")
    trainer = _trainer(job, model, tokenizer, examples, consumed)
    trainer.train(resume_from_checkpoint=str(found) if found else None)
    job.progress.end()
    consumed.check()
    if use_cache is not None:  # switched off while training; generation wants it as it was
        trainer.model.config.use_cache = use_cache
    _save(job, trainer.model, tokenizer)
    return Trained(
        folder=job.out,
        row_ids=consumed.order(),
        rows_expected=sum(map(len, batches)),
        tokens=sum(lengths[i] for batch in batches for i in batch),
        steps=len(batches),
        loss=consumed.loss_sum / len(batches),
        seconds=time.monotonic() - start,
        detail={"resumed_at": int(found.name.rpartition("-")[2])} if found else {},
    )


def _batches(job: Job, ids: list[str]) -> list[list[int]]:
    """Row numbers of every batch: by lot, or as the selection ordered the rows."""
    how = job.settings
    if how.order == "selected":
        orders = job.rows["order"].to_pylist()
        return as_selected(ids, orders, batch_size=how.batch_size, epochs=how.epochs, max_steps=how.max_steps)
    return plan(ids, batch_size=how.batch_size, epochs=how.epochs, max_steps=how.max_steps, seed=job.seed, round_=job.round)


def _examples(job: Job, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[Example]:
    ends = model.generation_config.eos_token_id if model.generation_config else None
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None) or job.settings.max_length
    limit = min(job.settings.max_length, positions)
    encoder = Encoder(tokenizer, mask=job.settings.mask, chat=job.chat, ends=[ends] if isinstance(ends, int) else ends or [], limit=limit)
    return encoder.encode(job.rows)


def _trainer(job: Job, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: list[Example], consumed: Consumed) -> Any:
    import torch
    from datasets import Dataset
    from trl import SFTConfig

    from engine.train.trainer import Collator, WeightedTrainer

    how = job.settings
    if job.device.device.startswith("cuda"):
        torch.cuda.set_device(job.device.device)
    seed = torch_seed(job.seed, job.round, how.role)
    config = SFTConfig(
        **arguments(how, job.device, seed=seed, state=job.state), max_length=None, dataset_kwargs={"skip_prepare_dataset": True}
    )
    # One process trains on one device, also where more are visible.
    config._n_gpu = min(config.n_gpu, 1)
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    try:
        return WeightedTrainer(
            how=how,
            consumed=consumed,
            progress=job.progress,
            state=job.state,
            model=model,
            args=config,
            processing_class=tokenizer,
            train_dataset=Dataset.from_dict({"batch": list(range(len(consumed.plan)))}),
            data_collator=Collator(examples, consumed.plan, pad),
            peft_config=_adapter(how.lora) if how.lora else None,
        )
    except ValueError as error:  # PEFT and TRL say so when an adapter cannot be put on the named modules
        raise StepError(
            f"the trainer refuses these settings: {error}", where=f"train, role {how.role}", hint="look at train.lora.targets"
        ) from error


def _adapter(lora: Lora) -> Any:
    from peft import LoraConfig

    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    return LoraConfig(r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM")


def _save(job: Job, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Model (an adapter merged into it) in the experiment's dtype as safetensors, and tokenizer, into `job.out`."""
    import torch

    if job.settings.lora:
        model = model.merge_and_unload()
    model = model.to(device="cpu", dtype=getattr(torch, job.device.dtype))
    broken = next((name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()), None)
    if broken:
        raise StepError(f"the trained weights of {broken} are not finite in {job.device.dtype}", hint="lower train.learning_rate")
    with writing("the checkpoint", job.out):
        model.save_pretrained(job.out)
        tokenizer.save_pretrained(job.out)
