"""TRL's SFT trainer on matrices of answers and constitutions (`engine.train.methods.sami`).

Loaded only when a training runs: importing TRL takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from trl import SFTConfig, SFTTrainer

from engine.errors import StepError
from engine.train import Job, Trained
from engine.train.encode import Example
from engine.train.log import Log
from engine.train.methods.sami import loss, matrices
from engine.train.order import plan
from engine.train.planned import Planned
from engine.train.running import Running
from engine.train.state import Consumed


def train(job: Job, end_token: bool) -> Trained:
    """Trains the model of `job` on the matrices that its rows make up."""
    running, how = Running(job), job.settings
    groups = matrices(job.rows.select(["row_id", "prompt_id", "source_round", "extra"]).to_pylist())
    examples = [example if end_token else _endless(example) for example in running.encoder(how.mask).encode(job.rows)]
    names = list(groups)
    chosen = plan(names, batch_size=how.batch_size, epochs=how.epochs, max_steps=how.max_steps, seed=job.seed, round_=job.round)
    batches = [[row for group in batch for row in groups[names[group]]] for batch in chosen]
    sides = {row: math.isqrt(len(rows)) for rows in groups.values() for row in rows}

    def make(consumed: Consumed, log: Log) -> ContrastTrainer:
        config = SFTConfig(**running.arguments(), max_length=None, dataset_kwargs={"skip_prepare_dataset": True})
        collator = MatrixCollator(examples, sides, consumed.plan, running.pad)
        return running.built(ContrastTrainer, config, consumed, log, data_collator=collator)

    return running.train([e.row_id for e in examples], [len(e.ids) for e in examples], make, batches)


def _endless(example: Example) -> Example:
    """Without the token that ends the answer, which is the last target. StepError where nothing else trains."""
    if not example.weights[1:-1].any():
        raise StepError(f"row {example.row_id}: the answer has no token but its end", hint="leave it out, or set train.params.end_token")
    return Example(example.row_id, example.ids[:-1], example.weights[:-1])


class MatrixCollator:
    """Makes the tensors of one planned batch: whole matrices, one behind the other, each row by row; `sizes` are their C."""

    def __init__(self, examples: Sequence[Example], sides: Mapping[int, int], plan: list[list[int]], pad: int) -> None:
        self.examples, self.sides, self.plan, self.pad = examples, sides, plan, pad

    def __call__(self, items: list[dict[str, int]]) -> dict[str, Any]:
        """`items` is one item: the number of the batch."""
        number = items[0]["batch"]
        rows = [self.examples[i] for i in self.plan[number]]
        shape = (len(rows), max(len(row.ids) for row in rows))
        ids, mask, weights = np.full(shape, self.pad), np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
        for i, row in enumerate(rows):
            length = len(row.ids)
            ids[i, :length], mask[i, :length], weights[i, :length] = row.ids, 1, row.weights
        weights[:, 0] = 0  # the first token follows nothing
        sizes, at = [], 0
        while at < len(rows):
            sizes.append(self.sides[self.plan[number][at]])
            at += sizes[-1] ** 2
        return {
            "batch": number,
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "weights": torch.from_numpy(weights),
            "sizes": sizes,
        }


class ContrastTrainer(Planned, SFTTrainer):
    """The loss of a batch is the mean over its matrices."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The loss of one batch. StepError, naming its rows, where it is not finite."""
        number, weights, sizes = inputs.pop("batch"), inputs.pop("weights"), inputs.pop("sizes")
        labels = inputs["input_ids"].masked_fill(weights == 0, -100)
        outputs = model(**inputs, labels=labels, use_cache=False, fused_lm_head=True)
        means = (outputs.log_probs * weights[:, 1:]).sum(dim=1) / weights.sum(dim=1)
        blocks = [block.view(size, size) for size, block in zip(sizes, means.split([size**2 for size in sizes]), strict=True)]
        losses = torch.stack([loss(block) for block in blocks])
        found = losses.mean()
        with torch.no_grad():
            right = [(block.argmax(dim=1) == torch.arange(len(block), device=block.device)).float().mean() for block in blocks]
            chance = torch.tensor([math.log(size) for size in sizes], device=losses.device)
            own = [block.diagonal().mean() for block in blocks]
            logged = {"accuracy": right, "mutual_information": list(chance - losses), "logps/own": own}
            numbers = {name: float(torch.stack(values).mean()) for name, values in logged.items()}
        self.took(number, found.item(), numbers)
        return (found, outputs) if return_outputs else found
