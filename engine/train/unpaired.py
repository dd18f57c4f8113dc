"""TRL's SFT trainer on planned batches of single rows, with the house's losses, row weights, and reference values from columns.

Loaded only when a training runs: importing TRL takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from trl import SFTTrainer

from engine.errors import StepError
from engine.train import Job, Trained, mismatched
from engine.train.encode import Example
from engine.train.log import Log
from engine.train.methods.sft import config
from engine.train.planned import Planned
from engine.train.rowwise import DESIRABLE, LABELS, MISMATCHED, OWN, RowObjective, RowValues, numbers_of
from engine.train.running import Running
from engine.train.state import Consumed


@dataclass(frozen=True)
class Row:
    """A row ready to train: token ids with weights, its numbers, its label, and its prompt with another row's answer."""

    row_id: str
    example: Example
    weight: float
    numbers: Mapping[str, float]
    desirable: bool | None = None
    other: Example | None = field(default=None)


def train(job: Job, objective: RowObjective) -> Trained:
    """Trains the model of `job` on its rows."""
    running = Running(job)
    rows = encoded(job, running, objective)

    def make(consumed: Consumed, log: Log) -> RowTrainer:
        if objective.reference == "values":  # dropout would be noise in every ratio
            for module in running.model.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
        collator = RowCollator(rows, consumed.plan, running.pad)
        return running.built(RowTrainer, config(running), consumed, log, data_collator=collator, objective=objective)

    return running.train([row.row_id for row in rows], [len(row.example.ids) for row in rows], make)


def encoded(job: Job, running: Running, objective: RowObjective) -> list[Row]:
    """Every row of `selected` as the objective needs it. StepError, naming a row, where one lacks a number or a label."""
    encoder = running.encoder(job.settings.mask)
    examples = encoder.encode(mismatched.unweighted(job.rows))
    others: Sequence[Example | None] = [None] * len(examples)
    if objective.mismatched:
        others = encoder.encode(mismatched.rows(job.rows, job.settings, job.seed, job.round), cut=True)
    wanted = objective.columns
    if objective.reference == "values":
        wanted += tuple(f"{name}_logps" for name in ((OWN, MISMATCHED) if objective.mismatched else (OWN,)))
    rows = []
    table = job.rows.select(["row_id", "weight", "label", "extra"]).to_pylist()
    for row, example, other in zip(table, examples, others, strict=True):
        numbers = numbers_of(row, wanted)
        known = {name: value for name, value in numbers.items() if value is not None and np.isfinite(value)}
        if lost := [name for name in numbers if name not in known]:
            raise StepError(
                f"row {row['row_id']} has no {lost[0]}, which the objective needs",
                hint="look at train.reference"
                if lost[0].startswith(OWN)
                else f"let the SQL of `select` give it: MAP {{'{lost[0]}': ...}} AS extra",
            )
        rows.append(Row(row["row_id"], example, _weight(row), known, _desirable(row) if objective.labelled else None, other))
    return rows


def _weight(row: Mapping[str, Any]) -> float:
    if not 0 < row["weight"] < float("inf"):
        raise StepError(f"row {row['row_id']} has the weight {row['weight']}", hint="leave rows of no weight out in the selection")
    return float(row["weight"])


def _desirable(row: Mapping[str, Any]) -> bool:
    if row["label"] not in LABELS:
        raise StepError(
            f"row {row['row_id']}: expected the label {' or '.join(LABELS)}, found {row['label']!r}",
            hint="let the SQL of `select` give every row a label, as sql/select/kto.sql does",
        )
    return row["label"] == DESIRABLE


class RowCollator:
    """Makes the tensors of one planned batch; the rows' weights sum to 1."""

    def __init__(self, rows: Sequence[Row], plan: list[list[int]], pad: int) -> None:
        self.rows, self.plan, self.pad = rows, plan, pad

    def __call__(self, items: list[dict[str, int]]) -> dict[str, Any]:
        """`items` is one item: the number of the batch."""
        number = items[0]["batch"]
        rows = [self.rows[i] for i in self.plan[number]]
        own = np.array([row.weight for row in rows], dtype=np.float32)
        batch = {
            "batch": number,
            **self._tokens([row.example for row in rows]),
            "row_weights": torch.from_numpy(own / own.sum()),
            "numbers": {name: torch.tensor([row.numbers[name] for row in rows]) for name in rows[0].numbers},
        }
        if rows[0].desirable is not None:
            labels = torch.tensor([bool(row.desirable) for row in rows])
            counts = torch.tensor([max(1, int((~labels).sum())), max(1, int(labels.sum()))])
            batch |= {"desirable": labels, "share": 1 / counts[labels.long()]}
        others = [row.other for row in rows if row.other is not None]
        return batch | ({"other": self._tokens(others)} if others else {})

    def _tokens(self, rows: Sequence[Example]) -> dict[str, torch.Tensor]:
        shape = (len(rows), max(len(row.ids) for row in rows))
        ids, mask, weights = np.full(shape, self.pad), np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
        for i, row in enumerate(rows):
            length = len(row.ids)
            ids[i, :length], mask[i, :length], weights[i, :length] = row.ids, 1, row.weights
        weights[:, 0] = 0  # the first token follows nothing
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "weights": torch.from_numpy(weights)}


class RowTrainer(Planned, SFTTrainer):
    """The loss of a batch is the mean of `objective.loss` over its rows by their weights. No reference model is held: its values are
    columns of the rows."""

    def __init__(self, *, objective: RowObjective, **more: Any) -> None:
        super().__init__(**more)
        self.objective = objective

    def parts(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """The batch in parts, each with the divergence of the whole batch."""
        pieces = super().parts(inputs)
        if "other" in inputs:
            found = self.divergence(self.model, pieces)
            pieces = [piece | {"kl": found} for piece in pieces]
        return pieces

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The weighted loss of one batch. StepError, naming its rows, where it is not finite."""
        number, row_weights = inputs.pop("batch"), inputs.pop("row_weights")
        if "other" in inputs and "kl" not in inputs:
            inputs["kl"] = self.divergence(model, [inputs])
        values, aux = self.values(model, inputs)
        loss = (self.objective.loss(values) * row_weights).sum()
        numbers = {"nll": -(values.mean.detach() * row_weights).sum(), **self.objective.log(values, row_weights)}
        if self.aux_loss_enabled:  # mixtures of experts: the load-balancing loss, as TRL adds it; a part's share of it
            loss = loss + self.router_aux_loss_coef * aux * row_weights.sum()
        self.took(number, loss.item(), {name: float(value) for name, value in numbers.items()})
        return (loss, values) if return_outputs else loss

    def values(self, model: Any, inputs: Mapping[str, Any]) -> tuple[RowValues, torch.Tensor | None]:
        """What the model says of the rows of a batch, and the auxiliary loss of a mixture of experts."""
        numbers = inputs["numbers"]
        logps, aux = self._sums(model, inputs)
        values = RowValues(
            logps=logps,
            tokens=inputs["weights"].sum(dim=1),
            ref=numbers.get(f"{OWN}_logps"),
            desirable=inputs.get("desirable"),
            share=inputs.get("share"),
            kl=inputs.get("kl", 0.0),
            numbers=numbers,
        )
        return values, aux

    @torch.no_grad()
    def divergence(self, model: Any, pieces: Sequence[dict[str, Any]]) -> float:
        """The estimate of KL(pi || pi_ref) on mismatched answers: the mean over the pieces of a batch of log pi / pi_ref, at least 0."""
        ratios = []
        for piece in pieces:
            part = self._prepare_inputs(piece)
            ratios.append(self._sums(model, part["other"])[0] - part["numbers"][f"{MISMATCHED}_logps"])
        return max(0.0, float(torch.cat(ratios).mean()))

    def _sums(self, model: Any, tokens: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        ids, weights = tokens["input_ids"], tokens["weights"]
        labels = ids.masked_fill(weights == 0, -100)
        more = {"output_router_logits": True} if self.aux_loss_enabled else {}
        mask = tokens["attention_mask"]
        outputs = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False, fused_lm_head=True, **more)
        return (outputs.log_probs * weights[:, 1:]).sum(dim=1), outputs.aux_loss if more else None
