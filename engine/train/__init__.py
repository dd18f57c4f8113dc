"""The train room: objectives by name. An objective trains one model on the rows of one role and says what it consumed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import ValidationError

from engine.errors import SpecError
from engine.registry import Registry
from engine.spec import Part, Spec, Train
from engine.step import Context, Device, Progress, Ref
from engine.train.past import Past


@dataclass
class Job:
    """One training: the model that it starts from, the rows of its role, and the folders that it may write.

    `out` gets the trained model; `state` keeps what a killed training needs to go on. `seed` and `round` are the root
    of every random choice. `chat` is how prompts are rendered (None: with the model's template where it has one). `reference` is
    the model of `train.reference`, for an objective that runs it; `ctx` the step's, for one that answers prompts itself; `past` what
    the training goes on from beside the weights.
    """

    model: Path
    rows: pa.Table
    settings: Train
    device: Device
    seed: int
    round: int
    out: Path
    state: Path
    progress: Progress
    label: str = "checkpoint"
    reference: Path | None = None
    chat: bool | None = None
    trust_remote_code: bool = False
    ctx: Context | None = None
    past: Past = field(default_factory=Past)


@dataclass
class Trained:
    """What a training did. `row_ids` are the rows in the order in which the trainer consumed them, repeats included; `log` are rows
    of training_log (step, metric, value); `tables` what else it fills, by (table, part), as the objective's `writes` says; `settings` what
    the checkpoint's `settings` say beside the spec's (keepsakes by name, frozen tensors)."""

    folder: Path
    row_ids: list[str]
    rows_expected: int
    tokens: int
    steps: int
    loss: float
    seconds: float
    detail: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[tuple[str, str], pa.Table] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def rows_trained(self) -> int:
        """How many rows the trainer consumed, repeats included."""
        return len(self.row_ids)


class NoParams(Part):
    """An objective without settings of its own."""


class Objective(ABC):
    """A method of training, one file of `engine.train.methods`. The file is light to import: the fingerprint needs `revision` and
    `Params` before any work.

    `reads`: the table whose part of the role trains; prompts: the objective answers them itself. `reference`: what it needs of
    `train.reference`: nothing, its log-probabilities as columns of the rows, or the model itself beside the one that trains.
    `parts`: whether the loss of a batch is a sum over its rows, so that `train.micro_batch` may cut it (see `engine.train.planned`).
    """

    revision: ClassVar[int] = 1
    reads: ClassVar[Literal["selected", "pairs", "prompts"]] = "selected"
    reference: ClassVar[Literal["none", "values", "model"]] = "none"
    parts: ClassVar[bool] = False
    Params: ClassVar[type[Part]] = NoParams

    def __init__(self, params: Any = None) -> None:
        self.params: Any = self.Params() if params is None else params

    def refs(self, spec: Spec, round_: int) -> list[Ref]:
        """Parts that the training reads beside its rows and models."""
        return []

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """JSON that enters the fingerprint beside the entry of `train`."""
        return {}

    @property
    def compares(self) -> Literal["none", "values", "model"]:
        """What it needs of `train.reference` with the params that it has: `reference`, or none of it."""
        return self.reference

    def writes(self, spec: Spec, role: str) -> list[tuple[str, str]]:
        """Further (table, part)s that the training fills, such as the rollouts of an online method."""
        return []

    def check(self, spec: Spec, train: Train, spec_path: Path) -> None:
        """SpecError for settings that cannot work, before any work."""
        return

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """Names of the outputs of its model's head; None where it trains a model that gives words."""
        return None

    @abstractmethod
    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on `job.rows` and leaves model and tokenizer in `job.out`.

        A killed training that is started again with the same job goes on from `job.state` and gives the same weights.
        Raises StepError for a row that cannot train, a loss that is not finite, or rows consumed other than planned.
        """


objectives: Registry[type[Objective]] = Registry("train.methods")


def objective(train: Train) -> Objective:
    """The objective that a spec's `train` entry names, its params checked. SpecError for an unknown method or param, or a reference
    that it needs or has no use for."""
    method = objectives.load(train.objective)
    if train.order == "selected" and method.reads != "selected":
        raise SpecError(
            f"train.order: selected, but the objective {train.objective} reads {method.reads}, which have no order",
            hint="set train.order: random",
        )
    if (train.hold_out or train.replay) and method.reads == "prompts":
        raise SpecError(
            f"train.{'hold_out' if train.hold_out else 'replay'}: the objective {train.objective} answers prompts itself and has no rows",
            hint="leave it out, or choose an objective that reads selected or pairs",
        )
    if train.micro_batch and not method.parts:
        raise SpecError(
            f"train.micro_batch: the loss of the objective {train.objective} is not a sum over rows, so its batches cannot be cut",
            hint="leave train.micro_batch out, and lower train.batch_size where the memory is short",
        )
    try:
        params = method.Params.model_validate(train.params)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        allowed = ", ".join(sorted(method.Params.model_fields)) or "none"
        text = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise SpecError(f"train.params.{place}: {text} (objective {train.objective})", hint=f"its params: {allowed}") from error
    made = method(params)
    if made.compares == "model" and len(train.references) > 1:
        raise SpecError(
            f"train.reference: the objective {train.objective} runs its reference beside the model, so it takes one model and no mixture",
            hint=f"found {train.reference}; give previous or base",
        )
    if made.compares != "none" and not train.references:
        raise SpecError(
            f"train.reference: the objective {train.objective} compares with a reference, found none",
            hint="give previous (the policy that the round starts with) or base",
        )
    return made
