"""The supervised trainer beside a reference model: the divergence between the two over the whole vocabulary.

Loaded only when a training runs: importing TRL takes seconds. Both models' logits are held for the positions from the first target of
the batch on; `train.micro_batch` bounds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from engine import models
from engine.errors import StepError
from engine.train import Job, Trained
from engine.train.encode import Example
from engine.train.log import Log
from engine.train.methods.sft import config
from engine.train.running import Running
from engine.train.state import Consumed
from engine.train.trainer import IGNORED, Collator, WeightedTrainer

if TYPE_CHECKING:
    from engine.train.methods.superhf import SuperHf


def train(job: Job, objective: SuperHf) -> Trained:
    """Trains the model of `job` beside the one of `job.reference`. StepError where they have not one vocabulary."""
    running = Running(job)
    examples = running.encoder(job.settings.mask).encode(job.rows)
    make = _maker(running, examples, objective)
    return running.train([e.row_id for e in examples], [len(e.ids) for e in examples], make)


def _maker(running: Running, examples: Sequence[Example], objective: SuperHf) -> Any:
    job = running.job
    assert job.reference is not None  # `engine.train.objective` has seen to it
    reference, tokenizer = models.load(job.reference, job.device, job.trust_remote_code)
    if tokenizer.get_vocab() != running.tokenizer.get_vocab():
        raise StepError(
            "the model that trains and its reference have different vocabularies, so their divergence has no meaning",
            where=str(job.reference),
            hint="train.reference: previous or base, with the tokenizer of the policy",
        )
    weights = np.array(job.rows["weight"].to_pylist(), dtype=np.float64)

    def make(consumed: Consumed, log: Log) -> DivergenceTrainer:
        collator = RowWeights(examples, consumed.plan, running.pad, weights, objective.params.reduce == "mean")
        more = {"data_collator": collator, "objective": objective, "reference": reference.requires_grad_(False)}
        return running.built(DivergenceTrainer, config(running), consumed, log, **more)

    return make


class RowWeights(Collator):
    """Beside the tensors of a batch the weight of each row (rows,); `share`: as shares of their sum."""

    def __init__(self, examples: Sequence[Example], plan: list[list[int]], pad: int, weights: np.ndarray, share: bool) -> None:
        super().__init__(examples, plan, pad)
        self.weights, self.share = weights, share

    def __call__(self, items: list[dict[str, int]]) -> dict[str, Any]:
        """`items` is one item: the number of the batch."""
        own = self.weights[self.plan[items[0]["batch"]]]
        own = own / own.sum() if self.share else own
        return super().__call__(items) | {"row_weights": torch.from_numpy(own.astype(np.float32))}


class DivergenceTrainer(WeightedTrainer):
    """The loss of `WeightedTrainer` and the objective's penalty; both are logged, the mean divergence as `kl`."""

    def __init__(self, *, objective: SuperHf, reference: Any, **more: Any) -> None:
        super().__init__(**more)
        self.objective, self.reference = objective, reference

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The loss of one batch in nats. StepError, naming its rows, where it is not finite."""
        number, weights, first = inputs.pop("batch"), inputs.pop("weights")[:, inputs["first"] :], inputs.pop("first")
        labels, row_weights = inputs.pop("labels")[:, first:], inputs.pop("row_weights")
        outputs, logps = self._logps(model, inputs, first)
        with torch.no_grad():
            base = self._logps(self.reference, inputs, first)[1]
        targets = labels != IGNORED
        said = logps.gather(2, labels.clamp(min=0)[..., None])[..., 0]
        nll = -(said * weights).sum()
        apart = self.objective.divergence(logps, base)
        penalty = self.objective.penalty(apart, targets, row_weights)
        loss = nll + penalty
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss * weights.sum()
        self.took(number, loss.item(), {"nll": nll.item(), "penalty": penalty.item(), "kl": (apart * weights).sum().item()})
        return (loss, outputs) if return_outputs else loss

    def _logps(self, model: Any, inputs: dict[str, Any], first: int) -> tuple[Any, torch.Tensor]:
        """Log-probabilities (rows, positions, vocabulary) of what stands from column `first` on."""
        width = inputs["input_ids"].shape[1]
        more: dict[str, Any] = {"output_router_logits": True} if self.aux_loss_enabled and model is not self.reference else {}
        if self._keeps_logits:
            more["logits_to_keep"] = torch.arange(first - 1, width - 1, device=inputs["input_ids"].device)
        outputs = model(**inputs, use_cache=False, **more)
        logits = outputs.logits if self._keeps_logits else outputs.logits[:, first - 1 : -1]
        return outputs, logits.float().log_softmax(-1)
