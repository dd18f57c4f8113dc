"""Reward models: a head whose number is higher for the better answer of a pair (Bradley-Terry).

    loss = -p log sigma(z) - (1 - p) log sigma(-z),  z = r(x, y_w) - r(x, y_l) - m

with p the row's `probability` (1 where it has none), moved towards 1/2 by `label_smoothing`, and m its `margin` times the setting
`margin` (0: none; Touvron et al., "Llama 2", arXiv 2307.09288). `center` adds `center` (r(x, y_w) + r(x, y_l))^2, which keeps rewards
near 0 (Eisenstein et al., "Helping or Herding?", arXiv 2312.09244). Source: Ouyang et al., arXiv 2203.02155; TRL's RewardTrainer.

The listwise loss of Qwen2.5-Math (arXiv 2409.12122), -1/(k (n - k)) sum over right and wrong answers of log sigma(r_i - r_j), is
this one on all right x wrong pairs of a prompt with the weight 1/(k (n - k)); an answer of several pairs in a batch is read once.

With `heads` the model has an output for each, as IterComp's (arXiv 2410.07171) aspects: a row's `extra` gives by head the margin of
the chosen answer; its sign says which of the two is better there, 0 or no entry that the pair says nothing of the head. The loss is
the mean over the heads that the pair is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import model_validator

from engine.errors import StepError
from engine.parts.part import F, Slug
from engine.train import objectives
from engine.train.heads import HeadObjective, HeadParams, HeadValues, Row, by_head, cross_entropy, probability, sides, smoothed

if TYPE_CHECKING:
    from torch import Tensor

    from engine.score.heads.showing import Showing


class Params(HeadParams):
    """Settings of `reward_model`."""

    heads: tuple[Slug, ...] = F((), "names of several outputs, each with its margin in `extra`; none: one output, `reward`")
    margin: float = F(0.0, "rewards shall differ by this times the margin of the row", ge=0)
    center: float = F(0.0, "weight of the squared sum of a pair's rewards", ge=0)
    label_smoothing: float = F(0.0, "share of pairs whose label is taken to be wrong", ge=0, lt=0.5)

    @model_validator(mode="after")
    def _different(self) -> Params:
        if len(set(self.heads)) < len(self.heads):
            raise ValueError(f"heads: a name stands twice in {list(self.heads)}")
        return self


@objectives.register("reward_model")
class RewardModel(HeadObjective):
    """Bradley-Terry on `pairs`, for one head or several."""

    Params = Params

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.params.heads or ("reward",)

    def texts(self, row: Row, showing: Showing) -> Sequence[str]:
        """The prompt with the chosen answer, and with the rejected one."""
        prefix, *both = sides(row)
        return [showing.shown([*prefix, *side[:-1]], side[-1]["content"]) for side in both]

    def numbers(self, row: Row) -> dict[str, float]:
        """probability, and the margin of each output."""
        known = {"probability": probability(row)}
        if self.params.heads:
            margins = by_head(row, self.params.heads)
            if not any(margin > 0 or margin < 0 for margin in margins.values()):
                raise StepError(f"pair {row['row_id']} says of no head which answer is better", hint="leave such pairs out in the SQL")
            return known | margins
        if self.params.margin and row["margin"] is None:
            raise StepError(f"pair {row['row_id']} has no margin, which train.params.margin needs", hint="let the SQL of `pairs` give it")
        return known | {"reward": row["margin"] or 0.0}

    def loss(self, values: HeadValues) -> Tensor:
        """See the file's formula; log 2 where all rewards are equal."""
        how = self.params
        difference, sign, margin, known = self._compared(values)
        share = smoothed(values.numbers["probability"], how.label_smoothing)[:, None]
        each = cross_entropy(sign * difference - how.margin * margin, share)
        if how.center:
            each = each + how.center * values.outputs.sum(dim=1) ** 2
        return (each * known).sum(dim=1) / known.sum(dim=1)

    def logged(self, values: HeadValues) -> dict[str, Tensor]:
        """accuracy and margin over the heads that a pair is about (with several also by head), and the mean reward."""
        difference, sign, _, known = self._compared(values)
        right, ahead = (sign * difference > 0).float() * known, sign * difference * known
        found = {"accuracy": right.sum(dim=1) / known.sum(dim=1), "margin": ahead.sum(dim=1) / known.sum(dim=1)}
        return found | {"reward": values.outputs.mean(dim=(1, 2))}

    def _compared(self, values: HeadValues) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(rows, outputs) each: r_w - r_l; 1 or -1, which side is better; the margin's size; 1 where the pair is about the output."""
        import torch

        difference = values.outputs[:, 0] - values.outputs[:, 1]
        margins = torch.stack([values.numbers[name] for name in self.outputs], dim=1)
        if not self.params.heads:  # the chosen answer is the better one, whatever its margin
            return difference, torch.ones_like(margins), margins, torch.ones_like(margins)
        known = (margins.nan_to_num() != 0).to(difference.dtype)
        return difference, margins.nan_to_num().sign(), margins.nan_to_num().abs(), known
