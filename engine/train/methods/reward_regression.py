"""Reward models that learn scores themselves: the mean squared error of each head against a number of the row.

    loss = mean over the heads that the row has a number of: (r_h(x, y) - extra[h])^2

Source: the reward model of directional preference alignment (Wang et al., "Arithmetic Control of LLMs", arXiv 2402.18571), ten heads
on Mistral-7B. Numbers are learned as they stand: bring the heads to one scale in the SQL (there HelpSteer's become 0 to 100, and the
measure `reward_model` can undo it with `scale` and `offset`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.parts.part import F, Slug
from engine.train import objectives
from engine.train.heads import HeadObjective, HeadParams, HeadValues, Row, by_head

if TYPE_CHECKING:
    from torch import Tensor

    from engine.score.heads.showing import Showing


class Params(HeadParams):
    """Settings of `reward_regression`."""

    heads: tuple[Slug, ...] = F(..., "names of the outputs; `extra` of each row has the number of those it knows", min_length=1)


@objectives.register("reward_regression")
class RewardRegression(HeadObjective):
    """Mean squared error on rows of `selected`; the last message is the answer."""

    reads: ClassVar[Literal["selected", "pairs", "prompts"]] = "selected"
    Params = Params

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.params.heads

    def texts(self, row: Row, showing: Showing) -> Sequence[str]:
        """The prompt with the answer."""
        return [showing.shown(row["messages"][:-1], row["messages"][-1]["content"])]

    def numbers(self, row: Row) -> dict[str, float]:
        """The target of each head, NaN where the row has none."""
        return by_head(row, self.params.heads)

    def loss(self, values: HeadValues) -> Tensor:
        """See the file's formula."""
        error, known = self._errors(values)
        return (error**2).sum(dim=1) / known.sum(dim=1)

    def logged(self, values: HeadValues) -> dict[str, Tensor]:
        """The mean absolute error, and the mean number."""
        error, known = self._errors(values)
        return {"absolute_error": error.abs().sum(dim=1) / known.sum(dim=1), "reward": values.outputs.mean(dim=(1, 2))}

    def _errors(self, values: HeadValues) -> tuple[Tensor, Tensor]:
        """(rows, heads) each: output less target, 0 where there is none; 1 where there is one."""
        import torch

        targets = torch.stack([values.numbers[name] for name in self.outputs], dim=1)
        known = (~targets.isnan()).to(values.outputs.dtype)
        return (values.outputs[:, 0] - targets.nan_to_num()) * known, known
