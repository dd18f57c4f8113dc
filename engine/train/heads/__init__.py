"""Objectives that train a model with a head: numbers for texts instead of words. Light to import; `training` trains.

What a head reads is the text that the scorers show it (`engine.score.heads.showing`), so that a trained folder works there unchanged.
A head starts from a classifier of as many outputs, or anew on top of a language model (`start`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from engine.errors import SpecError, StepError
from engine.parts.part import F, Part
from engine.step import POLICY
from engine.train import Job, Objective, Trained

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from engine.score.heads import Shown
    from engine.score.heads.showing import Showing
    from engine.spec import Spec, Train

Row = Mapping[str, Any]


class HeadParams(Part):
    """What every objective of a head has: how its model sees a text, and where it drops out."""

    chat: bool | None = F(None, "whether the model's chat template shows prompt and answer; none: where it has one")
    template: str | None = F(None, "instead of a chat template: a text with {prompt} and {response}")
    dropout: float = F(0.0, "dropout rate while it trains, so that passes with dropout may disagree later (BALD); 0: none", ge=0, lt=1)
    sites: Literal["own", "linear", "head"] = F(
        "linear", "where it drops out: the model's own dropout layers, the inputs of all linear layers, or that of the last one"
    )

    @model_validator(mode="after")
    def _shown(self) -> HeadParams:
        if self.chat and self.template is not None:
            raise ValueError("template: with chat: true the model's own template shows the text; give one of the two")
        lost = [name for name in self.names() if self.template is not None and f"{{{name}}}" not in self.template]
        if lost:
            raise ValueError(f"template: the text lacks {{{lost[0]}}}")
        return self

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """What the template must name in braces."""
        return ("prompt", "response")


@dataclass(frozen=True)
class HeadValues:
    """A batch: `outputs` (rows, texts of a row, outputs of the head), with gradient; `numbers` by name, each (rows,), NaN: none."""

    outputs: Tensor
    numbers: Mapping[str, Tensor]


class HeadObjective(Objective):
    """An objective whose loss is one formula a row over the head's numbers for its texts. The loss of a batch is the mean over its rows
    by their `weight`."""

    reads: ClassVar[Literal["selected", "pairs", "prompts"]] = "pairs"
    parts: ClassVar[bool] = True
    pairwise: ClassVar[bool] = False  # whether a text shows two answers
    Params: ClassVar[type[Part]] = HeadParams

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Names of the head's outputs, in order."""

    def shown(self, max_length: int) -> Shown:
        """How the scorers that read the trained folder must show it texts of at most `max_length` tokens."""
        from engine.score.heads import Shown

        return Shown(max_length=max_length, chat=self.params.chat, template=self.params.template)

    @abstractmethod
    def texts(self, row: Row, showing: Showing) -> Sequence[str]:
        """The texts of a row that the model reads, as many for every row."""

    @abstractmethod
    def numbers(self, row: Row) -> dict[str, float]:
        """The numbers of a row that the loss needs, the same names for every row. StepError, naming the row, where one is missing."""

    @abstractmethod
    def loss(self, values: HeadValues) -> Tensor:
        """The loss of each row, shape (rows,)."""

    @abstractmethod
    def logged(self, values: HeadValues) -> dict[str, Tensor]:
        """What the log keeps of each row, (rows,) each; the means are by row weight."""

    def check(self, spec: Spec, train: Train, spec_path: Path) -> None:
        """SpecError for the policy, which answers prompts, and for dropout that an adapter would pass by."""
        super().check(spec, train, spec_path)
        if train.role == POLICY:
            raise SpecError(
                f"train.objective: {train.objective} trains a model with a head, and the policy answers prompts",
                hint="give the entry a role of its own, such as role: reward",
            )
        if train.lora and self.params.dropout and self.params.sites != "own":
            raise SpecError(
                f"train.params.dropout: with train.lora the adapter has its own dropout, which sites: {self.params.sites} would pass by",
                hint="set train.lora.dropout instead",
            )

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on the rows of its table; see `engine.train.Objective`."""
        from engine.train.heads.training import train
        from engine.train.quiet import quiet

        with quiet():
            return train(job, self)


def sides(row: Row) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Prefix, chosen and rejected messages of a row of `pairs`."""
    return row["messages"], row["chosen"], row["rejected"]


def probability(row: Row) -> float:
    """The probability that the chosen answer is the better one: the soft label of a row of `pairs`, 1 where it has none."""
    return 1.0 if row["probability"] is None else float(row["probability"])


def by_head(row: Row, heads: Sequence[str]) -> dict[str, float]:
    """The entries of `extra` by head, NaN for one that it lacks. StepError where it has none of them."""
    extra = {name: value for name, value in dict(row["extra"] or ()).items() if value is not None}
    if not set(heads) & set(extra):
        raise StepError(
            f"row {row['row_id']} has no number of any head ({', '.join(heads)}) in extra, which has {sorted(extra) or 'nothing'}",
            hint=f"let its SQL give extra, such as MAP {{'{heads[0]}': 1.0}}, or leave the row out",
        )
    return {head: float(extra.get(head, float("nan"))) for head in heads}


def cross_entropy(margin: Tensor, probability: Tensor | float) -> Tensor:
    """-p log sigma(margin) - (1 - p) log sigma(-margin), element by element."""
    from torch.nn.functional import logsigmoid

    return -probability * logsigmoid(margin) - (1 - probability) * logsigmoid(-margin)


def smoothed(probability: Tensor, smoothing: float) -> Tensor:
    """A soft label of which a share `smoothing` is taken to be wrong."""
    return probability * (1 - 2 * smoothing) + smoothing
