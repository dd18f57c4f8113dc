"""TRL's GRPO and RLOO trainers on answers that the house samples and scores: their losses, our batches.

Loaded only when a training runs: importing TRL takes seconds.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import SequentialSampler
from transformers import Trainer
from trl import GRPOTrainer, RLOOTrainer
from trl.trainer.utils import add_fused_lm_head

from engine.train.planned import Planned
from engine.train.trainer import SMALL

if TYPE_CHECKING:
    from engine.train.online.running import Online

# TRL's names of what it measures in a step, and ours; means over tokens (over answers, where ratios are those of answers)
MEASURED = {
    "kl": "kl",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clip_ratio",
    "clip_ratio/low_mean": "clip_ratio/low",
    "clip_ratio/high_mean": "clip_ratio/high",
}


class OnlineTrainer(Planned):
    """Stands before TRL's trainer. `online` gives the tensors of a batch, `reference` is a model that does not train (None: there is
    none)."""

    def __init__(self, *, online: Online, reference: Any = None, **more: Any) -> None:
        super().__init__(reward_funcs=[_scored], **more)
        self.online = online
        self.data_collator = _only
        self.args.steps_per_generation = 1  # TRL wants whole groups in its own generation batch; ours come whole
        base = self.weights
        self._keeps_logits = "logits_to_keep" in inspect.signature(type(base).forward).parameters
        self._vocabulary = base.get_output_embeddings().weight.shape[0]
        if reference is not None:
            add_fused_lm_head(reference, temperature=self.temperature)
            reference = self.accelerator.prepare_model(reference, evaluation_mode=True)
        self.ref_model = reference
        self.beta = online.beta_of_loss

    @property
    def weights(self) -> Any:
        """The model itself, an adapter in its layers included."""
        model = self.accelerator.unwrap_model(self.model)
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    def get_train_dataloader(self) -> Any:
        """One item is one batch; TRL would repeat prompts."""
        return Trainer.get_train_dataloader(self)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)

    def parts(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """The answers of a batch, sampled and judged where nobody has yet, `micro_batch` of them at a time."""
        return self.online.parts(self, inputs["batch"])

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs  # tensors are on the device already

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """TRL's loss of a part of a batch, times its share of the whole. StepError, naming the prompts, where it is not finite."""
        number, share, shares, numbers = (inputs.pop(name) for name in ("batch", "share", "shares", "numbers"))
        loss = self._compute_loss(model, inputs) * share
        found = {name: values[-1] for name, values in self._metrics["train"].items() if name in MEASURED}
        self._metrics["train"].clear()
        measured = {MEASURED[name]: value * shares["clip" if name.startswith("clip") else "other"] for name, value in found.items()}
        self.took(number, loss.item(), measured | numbers)
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **more: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """As TRL has it, but with each row's own positions (TRL counts the padding on the left), and on a CPU from the logits where
        they fit easily: its head in tiles takes three times as long there."""
        positions = (attention_mask.cumsum(1) - 1).clamp(min=0)
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": positions, "use_cache": False}
        small = input_ids.device.type == "cpu" and input_ids.shape[0] * (logits_to_keep + 1) * self._vocabulary <= SMALL
        if small and self._keeps_logits and not compute_aux_loss:
            logits = model(**given, logits_to_keep=logits_to_keep + 1).logits[:, :-1].float() / self.temperature
            logps = logits.log_softmax(dim=-1)
            chosen = logps.gather(2, input_ids[:, -logits_to_keep:].unsqueeze(2)).squeeze(2)
            return chosen, -(logps.detach().exp() * logps.detach()).sum(dim=2) if compute_entropy else None, None
        if compute_aux_loss:
            given["output_router_logits"] = True
        labels = input_ids.masked_fill(attention_mask == 0, -100)
        labels[:, :-logits_to_keep] = -100
        with self.accelerator.autocast():
            outputs = model(**given, labels=labels, fused_lm_head=True)
        entropies = outputs.entropy[:, -logits_to_keep:] if compute_entropy else None
        return outputs.log_probs[:, -logits_to_keep:], entropies, outputs.aux_loss if compute_aux_loss else None


class GrpoTrainer(OnlineTrainer, GRPOTrainer):
    """GRPOTrainer's loss."""


class RlooTrainer(OnlineTrainer, RLOOTrainer):
    """RLOOTrainer's loss."""


def _scored(**_: Any) -> list[float]:
    """TRL wants a reward function; ours are the scores of the experiment, and this one is never asked."""
    raise NotImplementedError


def _only(items: list[dict[str, int]]) -> dict[str, int]:
    """The item: the number of a batch."""
    return items[0]
