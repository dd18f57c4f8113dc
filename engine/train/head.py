"""Log-probabilities of a batch's targets, from the model's own logits where those are small, else through TRL's head in tiles.

Loaded only when a training runs: importing TRL takes seconds.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from trl.trainer.utils import add_fused_lm_head

IGNORED = -100  # TRL's label of a token that is no target
SMALL = 1 << 26  # logits: 256 MiB in float32


class Head:
    """Reads a causal model, an adapter's or not. `aux` asks mixtures of experts for their load-balancing loss."""

    def __init__(self, model: Any, aux: bool = False) -> None:
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        self.aux, self.vocabulary = aux, base.get_output_embeddings().weight.shape[0]
        self._keeps_logits = "logits_to_keep" in inspect.signature(type(base).forward).parameters
        add_fused_lm_head(base)  # TRL's trainers ask theirs for entropies and more, which nothing here reads

    def __call__(self, model: Any, inputs: dict[str, Tensor], weights: Tensor, first: int) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities in nats of the tokens from column `first` on, shape (rows, tokens - first), and the load-balancing loss.

        `inputs` are ids and mask, `weights` (rows, tokens) say by > 0 which tokens are targets; the others get 0. Before column
        `first`, at least 1, no row has a target.
        """
        labels = inputs["input_ids"].masked_fill(weights == 0, IGNORED)
        if self._small(labels[:, first:]):
            kept = torch.arange(first - 1, labels.shape[1] - 1)
            logits = model(**inputs, use_cache=False, logits_to_keep=kept).logits
            flat = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), labels[:, first:].flatten(), reduction="none", ignore_index=IGNORED
            )
            return -flat.view(len(labels), -1), None
        more = {"output_router_logits": True} if self.aux else {}
        outputs = model(**inputs, **more, labels=labels, use_cache=False, fused_lm_head=True)
        return outputs.log_probs[:, first - 1 :], outputs.aux_loss if self.aux else None

    def _small(self, labels: Tensor) -> bool:
        """Whether all logits of the batch fit easily, on a CPU, where TRL's head in tiles takes three times as long."""
        return labels.device.type == "cpu" and labels.numel() * self.vocabulary <= SMALL and self._keeps_logits and not self.aux
