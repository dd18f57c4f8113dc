"""SAMI: answers that tell under which principles they were written, without any preference label.

    A_ij = mean log pi(y_j | c_i, x) a token;  loss = 1/2 [ CE over each row (which answer) + CE over each column (which constitution) ]

for the C answers y_j to a prompt x, each written under one of C constitutions c_i; the diagonal is the target of both. It is the
symmetric InfoNCE bound: ln C - loss estimates the mutual information of answer and constitution in nats. A row of `selected` is one
entry of a matrix: its messages show constitution i and answer j, and extra says which: MAP {'constitution': i, 'response': j}. The rows
of one prompt and round are one matrix and always train in one batch, so `batch_size` counts matrices; weights of rows do not enter.
Source: Fraenken et al., "Self-Supervised Alignment with Mutual Information", arXiv 2404.14313, whose end tokens are masked
(`end_token`) and whose KL term has weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.errors import StepError
from engine.parts.part import F, Part
from engine.train import Job, Objective, Trained, objectives

if TYPE_CHECKING:
    from torch import Tensor

ROW, COLUMN = "constitution", "response"  # entries of extra


class Params(Part):
    """Settings of `sami`."""

    end_token: bool = F(False, "count the token that ends an answer")


@objectives.register("sami")
class Sami(Objective):
    """Symmetric InfoNCE over matrices of answers and constitutions."""

    Params = Params

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on rows of `selected`; see `engine.train.Objective`."""
        from engine.train.contrast import train
        from engine.train.quiet import quiet

        with quiet():
            return train(job, self.params.end_token)


def loss(matrix: Tensor) -> Tensor:
    """The loss of one matrix (constitutions, answers); ln C where it says nothing."""
    import torch
    from torch.nn.functional import cross_entropy

    target = torch.arange(len(matrix), device=matrix.device)
    return (cross_entropy(matrix, target) + cross_entropy(matrix.T, target)) / 2


def matrices(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Row numbers of each matrix, row by row of it, by prompt and round. StepError, naming a prompt, where one is not whole."""
    groups: dict[str, dict[tuple[float, float], int]] = {}
    for number, row in enumerate(rows):
        extra, name = dict(row["extra"] or ()), f"{row['prompt_id']}/{row['source_round']}"
        place = (extra.get(ROW, math.nan), extra.get(COLUMN, math.nan))
        lost = any(math.isnan(side) for side in place)
        if lost or place in groups.get(name, {}):
            found = "no place in a matrix" if lost else f"the place {place} of another row"
            raise StepError(
                f"row {row['row_id']} has {found}",
                hint=f"let the SQL give extra: MAP {{'{ROW}': i, '{COLUMN}': j}}, one row for each constitution and answer of a prompt",
            )
        groups.setdefault(name, {})[place] = number
    for name, places in groups.items():
        sides = [sorted({place[side] for place in places}) for side in (0, 1)]
        if sides[0] != sides[1] or len(places) != len(sides[0]) ** 2 or len(sides[0]) < 2:
            raise StepError(
                f"prompt {name.partition('/')[0]}: expected a square matrix of at least 2 constitutions and the answers written under "
                f"them, found {len(places)} rows, constitutions {sides[0]}, answers {sides[1]}",
                hint="leave prompts out where an answer is missing",
            )
    return {name: [places[place] for place in sorted(places)] for name, places in sorted(groups.items())}
