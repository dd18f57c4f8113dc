"""The gradient G of an answer's loss with respect to the output head W of a model, by two numbers: ||G||^2 and <W, G>.

From them follow, for a step W - eta G of plain gradient descent, both columns of DONOD (Hu et al., "DONOD: Robust and
Generalizable Instruction Fine-Tuning for LLMs via Model-Intrinsic Dataset Pruning", arXiv 2504.14810) without a step:
NOD = eta ||G||, DON = sqrt(||W||^2 - 2 eta <W, G> + eta^2 ||G||^2) - ||W||. The paper takes the step; the closed form gives
the same for gradient descent on W alone, not for Adam or an adapter.

G = sum_t d_t h_t^T with d_t = p_t - onehot_t, so ||G||^2 = sum_st (d_s . d_t)(h_s . h_t) and <W, G> = sum_t d_t . W h_t: no
matrix of vocabulary times width is made. Sums in float64. An input embedding that is tied to the head does not enter G.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import Field

from engine.errors import StepError
from engine.score import forced
from engine.score.measures import measures
from engine.step import Context

if TYPE_CHECKING:
    import torch

    from engine.score.reader import Reader

CELLS = 1 << 22  # entries of a float64 block: 32 MiB


class HeadParams(forced.ReadingOf):
    """Which model, how it reads, and what the loss is."""

    loss: Literal["mean", "sum"] = Field("mean", description="loss of an answer: mean or sum over its tokens")


@measures.register("head_gradient")
class HeadGradient(forced.ByModel):
    """Columns <name>_norm2: ||G||^2, <name>_dot: <W, G>, <name>_head2: ||W||^2, the same in all rows."""

    outputs = ("_norm2", "_dot", "_head2")
    Params = HeadParams

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        reader = forced.load(ctx, forced.Named(self.params.model).model(ctx), self.params)
        gradient = Gradient(reader, self.params.loss == "mean")
        label, columns = f"head gradient ({self.params.model})", Gradient.columns
        found = forced.read(ctx, rows, reader, lambda: gradient, columns, label=label, journal=ctx.journal)
        return self.by_suffix(found, columns)


class Gradient:
    """Operator: the three numbers of each row. A row goes through the model alone, so no batch can change its last bits."""

    columns = ("norm2", "dot", "head2")

    def __init__(self, reader: Reader, mean: bool) -> None:
        self.reader, self.mean = reader, mean
        head = reader.model.get_output_embeddings()
        if head is None or not hasattr(head, "weight"):
            raise StepError("head_gradient: the model has no output head of its own", where=str(reader.tokenizer.name_or_path))
        if hasattr(head, "base_layer"):  # PEFT's layer around the head, whose weight is not what the logits come from
            hint = "merge the adapter into its base"
            raise StepError(
                "head_gradient: an adapter stands over the model's output head", where=str(reader.tokenizer.name_or_path), hint=hint
            )
        self.head, self.head2 = head, norm2(head.weight)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import torch

        rows = []
        with torch.inference_mode():
            for ids, first in zip(batch.column("ids").to_pylist(), batch.column("first").to_pylist(), strict=True):
                hidden, logits = self._forward(ids, first)
                targets = torch.tensor(ids[first:], device=logits.device)
                rows.append((*gradient(hidden, logits, targets, self.head.bias, self.mean), self.head2))
        columns = [pa.array(column, pa.float64()) for column in zip(*rows, strict=True)]
        return pa.RecordBatch.from_arrays([batch.column("key"), *columns], names=["key", *self.columns])

    def _forward(self, ids: list[int], first: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs (tokens, width) and outputs (tokens, vocabulary) of the head at the positions that predict the targets."""
        import numpy as np
        import torch

        seen: list[torch.Tensor] = []
        hook = self.head.register_forward_hook(lambda _, given, out: seen.extend([given[0], out]))
        try:
            logits = self.reader.forward([np.array(ids)], first - 1)
        finally:
            hook.remove()
        if len(seen) != 2 or not torch.equal(logits, seen[1][:, -logits.shape[1] :]):
            raise StepError(
                "head_gradient: the model changes its logits after the head (a soft cap or a scale), where the closed form does not hold",
                where=str(self.reader.tokenizer.name_or_path),
                hint="measure with another model, or select without head_gradient",
            )
        return seen[0][0, -logits.shape[1] :][:-1], logits[0, :-1]


def norm2(weight: torch.Tensor) -> float:
    """Squared Frobenius norm, summed in float64 by blocks of rows."""
    import torch

    with torch.no_grad():
        size = max(1, CELLS // weight.shape[1])
        return float(sum(weight[i : i + size].double().square().sum() for i in range(0, len(weight), size)))


def gradient(
    hidden: torch.Tensor, logits: torch.Tensor, targets: torch.Tensor, bias: torch.Tensor | None = None, mean: bool = True
) -> tuple[float, float]:
    """(||G||^2, <W, G>) of the loss over T tokens. `hidden` (T, width), `logits` (T, vocabulary) with the head's `bias`.

    The vocabulary is walked in blocks of columns, so the softmax never stands whole in float64.
    """
    import torch

    tokens, size = len(targets), max(1, CELLS // len(targets))
    blocks = range(0, logits.shape[1], size)
    scale = torch.stack([logits[:, i : i + size].double().logsumexp(dim=1) for i in blocks], dim=1).logsumexp(dim=1)
    gram = torch.zeros(tokens, tokens, dtype=torch.float64, device=logits.device)
    dot = torch.zeros((), dtype=torch.float64, device=logits.device)
    rows = torch.arange(tokens, device=logits.device)
    for start in blocks:
        block = logits[:, start : start + size].double()
        errors = (block - scale[:, None]).exp()
        inside = (targets >= start) & (targets < start + block.shape[1])
        errors[rows[inside], targets[inside] - start] -= 1.0
        gram += errors @ errors.T
        dot += (errors * (block if bias is None else block - bias[start : start + size].double())).sum()
    wide = hidden.double()
    whole = (gram * (wide @ wide.T)).sum()
    return float(whole) / (tokens**2 if mean else 1), float(dot) / (tokens if mean else 1)
