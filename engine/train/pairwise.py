"""Objectives on pairs: what a loss sees of a batch, and the protocol of a loss. Light to import; `engine.train.pairing` trains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from engine.train import Job, Objective, Trained

if TYPE_CHECKING:
    from torch import Tensor

OWN = ("probability", "margin")  # numbers that are columns of `pairs`; others are entries of `extra`


@dataclass(frozen=True)
class PairValues:
    """A batch of pairs as tensors of shape (rows,), sums in nats.

    `chosen`, `rejected` and `third` (None: rows have none) are sums of log-probabilities over the target tokens under the model
    that trains, with gradient; `*_tokens` how many those are (weights of messages count as parts of a token). `ref_chosen` and
    `ref_rejected` are the same under the reference (None: the objective has none); `numbers` are further columns by name. `mean_tokens`
    says by side how many target tokens the rows of the batch have on average, by their weights: of the whole batch, where this is a
    part of one (None: the rows are a batch and weigh alike).
    """

    chosen: Tensor
    rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor
    ref_chosen: Tensor | None = None
    ref_rejected: Tensor | None = None
    third: Tensor | None = None
    third_tokens: Tensor | None = None
    numbers: Mapping[str, Tensor] | None = None
    mean_tokens: Mapping[str, float] | None = None

    def number(self, name: str) -> Tensor:
        """The column `name`, one of those of the objective's `columns`."""
        return (self.numbers or {})[name]

    @property
    def chosen_ratio(self) -> Tensor:
        """log pi / pi_ref of the chosen answer; without a reference log pi."""
        return self.chosen if self.ref_chosen is None else self.chosen - self.ref_chosen

    @property
    def rejected_ratio(self) -> Tensor:
        """log pi / pi_ref of the rejected answer; without a reference log pi."""
        return self.rejected if self.ref_rejected is None else self.rejected - self.ref_rejected

    @property
    def margin(self) -> Tensor:
        """The log-ratio of the chosen answer less that of the rejected one."""
        return self.chosen_ratio - self.rejected_ratio

    @property
    def margin_a_token(self) -> Tensor:
        """The same with each side's log-ratio divided by its tokens."""
        return self.chosen_ratio / self.chosen_tokens - self.rejected_ratio / self.rejected_tokens

    @property
    def chosen_mean(self) -> Tensor:
        """Log-probability of the chosen answer a token."""
        return self.chosen / self.chosen_tokens

    @property
    def rejected_mean(self) -> Tensor:
        """Log-probability of the rejected answer a token."""
        return self.rejected / self.rejected_tokens


class PairObjective(Objective):
    """An objective whose loss is one formula a pair. The loss of a batch is the mean over its rows by their `weight`.

    `columns`: numbers that every row must have: `probability`, `margin`, or keys of `extra`; `ranges` the least and the greatest allowed
    of those that have such. `third`: whether rows have a third answer. `weighted`: whether rows may differ in weight.
    """

    reads: ClassVar[Literal["selected", "pairs", "prompts"]] = "pairs"
    reference: ClassVar[Literal["none", "values", "model"]] = "values"
    third: ClassVar[bool] = False
    weighted: ClassVar[bool] = True
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"probability": (0.0, 1.0)}
    parts: ClassVar[bool] = True

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of numbers that rows must have; may depend on the params."""
        return ()

    @abstractmethod
    def loss(self, values: PairValues) -> Tensor:
        """The loss of each row, shape (rows,)."""

    def rewards(self, values: PairValues) -> tuple[Tensor, Tensor]:
        """Implicit rewards of chosen and rejected, for the log: beta times the log-ratio where there is a beta, else the log-ratio."""
        beta = getattr(self.params, "beta", 1.0)
        return beta * values.chosen_ratio, beta * values.rejected_ratio

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on rows of `pairs`; see `engine.train.Objective`."""
        from engine.train.pairing import train
        from engine.train.quiet import quiet

        with quiet():
            return train(job, self)


def numbers_of(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, float | None]:
    """The numbers of a row of `pairs`: its own columns, else entries of `extra`; None where it has none."""
    extra = dict(row["extra"] or ())
    return {name: row[name] if name in OWN else extra.get(name) for name in names}
