"""The train room: objectives by name. An objective trains one model on the rows of one role and says what it consumed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
from pydantic import ValidationError

from engine.errors import SpecError
from engine.registry import Registry
from engine.spec import Part, Train
from engine.step import Device, Progress


@dataclass
class Job:
    """One training: the model that it starts from, the rows of its role, and the folders that it may write.

    `out` gets the trained model; `state` keeps what a killed training needs to go on. `seed` and `round` are the root
    of every random choice. `chat` is how prompts are rendered (None: with the model's template where it has one).
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


@dataclass
class Trained:
    """What a training did. `row_ids` are the rows in the order in which the trainer consumed them, repeats included."""

    folder: Path
    row_ids: list[str]
    rows_expected: int
    tokens: int
    steps: int
    loss: float
    seconds: float
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def rows_trained(self) -> int:
        """How many rows the trainer consumed, repeats included."""
        return len(self.row_ids)


class Objective(Protocol):
    """A method of training. Its file is light to import: the fingerprint needs `revision` and `Params` before any work."""

    revision: int
    reads: Literal["selected", "pairs"]
    Params: type[Part]

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on `job.rows` and leaves model and tokenizer in `job.out`.

        A killed training that is started again with the same job goes on from `job.state` and gives the same weights.
        Raises StepError for a row that cannot train, a loss that is not finite, or rows consumed other than planned.
        """
        ...


objectives: Registry[Any] = Registry(
    "train", not_methods=("checkpoint", "encode", "order", "quiet", "settings", "state", "steps", "tiny", "trainer")
)


def objective(train: Train) -> Objective:
    """The objective that a spec's `train` entry names, its params checked. SpecError for an unknown method or param."""
    found = objectives.load(train.objective)()
    if train.order == "selected" and found.reads != "selected":
        raise SpecError(
            f"train.order: selected, but the objective {train.objective} reads {found.reads}, which have no order",
            hint="set train.order: random",
        )
    try:
        found.Params.model_validate(train.params)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        allowed = ", ".join(sorted(found.Params.model_fields)) or "none"
        text = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise SpecError(f"train.params.{place}: {text} (objective {train.objective})", hint=f"its params: {allowed}") from error
    return found
