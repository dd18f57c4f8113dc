"""Objectives on single rows of `selected`: what a loss sees of a batch, and the protocol of a loss. Light to import;
`engine.train.unpaired` trains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engine.errors import SpecError
from engine.train import Job, Objective, Trained

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from engine.spec import Spec, Train

DESIRABLE, UNDESIRABLE = LABELS = ("desirable", "undesirable")
CUMULATIVE = "cumulative"  # of train.data
OWN, MISMATCHED = "ref", "ref_kl"  # what the columns of `extra` with reference values begin with


@dataclass(frozen=True)
class RowValues:
    """A batch of rows as tensors of shape (rows,), sums in nats.

    `logps` are sums of log-probabilities over the target tokens under the model that trains, with gradient, `tokens` how many those are
    (weights of messages count as parts of a token); `ref` the same sums under the reference (None: the objective has none). `desirable`
    says which rows have that label (None: the objective has no use for labels); `share` is one by the number of the batch's rows with
    the row's label. `kl` is the batch's estimate of the divergence from the reference, at least 0. `numbers` are columns by name.
    """

    logps: Tensor
    tokens: Tensor
    ref: Tensor | None = None
    desirable: Tensor | None = None
    share: Tensor | None = None
    kl: float = 0.0
    numbers: Mapping[str, Tensor] | None = None

    def number(self, name: str) -> Tensor:
        """The column `name`, one of those of the objective's `columns`."""
        return (self.numbers or {})[name]

    @property
    def mean(self) -> Tensor:
        """Log-probability a token."""
        return self.logps / self.tokens

    @property
    def ratio(self) -> Tensor:
        """log pi / pi_ref; without a reference log pi."""
        return self.logps if self.ref is None else self.logps - self.ref


class RowObjective(Objective):
    """An objective whose loss is one formula a row. The loss of a batch is the mean over its rows by their `weight`.

    `columns`: keys of `extra` that every row must have. `labelled`: whether rows are desirable or undesirable. `mismatched`: whether
    the loss needs the divergence of a batch, estimated on answers to other prompts.
    """

    parts: ClassVar[bool] = True
    labelled: ClassVar[bool] = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Keys of `extra` that rows must have; may depend on the params."""
        return ()

    @property
    def mismatched(self) -> bool:
        """Whether `RowValues.kl` is estimated."""
        return False

    def check(self, spec: Spec, train: Train, spec_path: Path) -> None:
        """SpecError where the base's worked examples would train too, which have neither labels nor numbers."""
        if (self.labelled or self.columns) and train.data == CUMULATIVE and spec.base:
            needed = ", ".join((*self.columns, *(["a label"] if self.labelled else [])))
            raise SpecError(
                f"train.data of {train.role} is cumulative, which brings the base's worked examples, and {train.objective} needs {needed} "
                "of every row",
                hint="set train.data: round, or last-N for the rounds before this one",
            )

    @abstractmethod
    def loss(self, values: RowValues) -> Tensor:
        """The loss of each row, shape (rows,)."""

    def log(self, values: RowValues, weights: Tensor) -> dict[str, Tensor]:
        """Numbers for training_log, as sums over rows that add up over the parts of a batch; `weights` of the rows sum to 1."""
        return {}

    def read(self, rows: pa.Table, train: Train, seed: int, round_: int) -> dict[str, pa.Table]:
        """What the reference reads of `rows`, by the name that its column of `extra` begins with (`<name>_logps`): tables of row_id,
        messages and weight, for an Encoder with the mask of `train`."""
        from engine.train import mismatched

        found = {OWN: mismatched.unweighted(rows)}
        return found | ({MISMATCHED: mismatched.rows(rows, train, seed, round_)} if self.mismatched else {})

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on rows of `selected`; see `engine.train.Objective`."""
        from engine.train.quiet import quiet
        from engine.train.unpaired import train

        with quiet():
            return train(job, self)


def numbers_of(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, float | None]:
    """Entries of a row's `extra`; None where it has none."""
    extra = dict(row["extra"] or ())
    return {name: extra.get(name) for name in names}
