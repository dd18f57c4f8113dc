"""The generate room: backends answer prompts, one file a backend; they fill the table `generations`.

A backend is an operator from batches of prompts to rows of generations. `engine.generate.rows` builds such rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import BaseModel

from engine.params import Params, validated
from engine.registry import Registry
from engine.spec import Sampler
from engine.step import Device, Model
from engine.warm import Warm

POLICY = "policy"
TOGETHER = 512  # answers that are asked together where nothing else is said


@dataclass(frozen=True)
class Job:
    """What a backend is made from. `model` is None for a backend that needs none; seed, round and step root its draws.

    `actor` is who answers, as the spec calls it; `keep_tokens` asks for token ids and their log-probabilities; `warm` keeps an engine
    that took long to start for later steps (None: nobody does). `batch`: answers that run together where the backend says when;
    auto: as many as memory holds. `how`: what else changes its answers and enters their ids, such as weights that train.
    """

    params: Any
    sampler: Sampler
    samples: int
    chat: bool | None
    model: Model | None
    device: Device
    seed: int
    round: int
    step: str
    trust_remote_code: bool
    spec_path: Path
    actor: str = POLICY
    keep_tokens: bool = False
    batch: int | Literal["auto"] = TOGETHER
    warm: Warm | None = None
    how: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stream(self) -> str:
        """What stands before a prompt's id in the keys of random draws: two actors never share a stream."""
        return "" if self.actor == POLICY else f"{self.actor}/"


class Backend(ABC):
    """Answers prompts. `revision` rises when its rows change for equal settings; `detail` ends up in the ledger.

    `needs_model`: answers with a model of the experiment (or a folder), which lies at `job.model`. `uses_sampler`: draws answers as
    the sampler says, or asks somebody who does. `schedules`: it takes all asks
    in one call and yields answers in the order in which they finish; others get a batch at a time. `reads`: columns of `prompts`
    that it needs beside prompt_id and messages. `keeps_engine`: its model is in an engine that
    `job.warm` keeps, not in this process. `single`: it has one answer to a prompt, however many are asked.
    """

    revision: ClassVar[int] = 1
    needs_model: ClassVar[bool] = True
    uses_sampler: ClassVar[bool] = True
    schedules: ClassVar[bool] = False
    keeps_engine: ClassVar[bool] = False
    single: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ()
    Params: ClassVar[type[BaseModel]] = Params

    def __init__(self, job: Job) -> None:
        self.job = job
        self.detail: dict[str, Any] = {}

    @classmethod
    def settings(cls, params: Any, spec_path: Path) -> dict[str, Any]:
        """JSON for the fingerprint: its own settings that change rows, with digests of the files they name."""
        return params.model_dump(mode="json")

    @classmethod  # noqa: B027 - most have nothing more to check
    def check(cls, params: Any, spec_path: Path) -> None:
        """Raises what can be found wrong with its own settings, and the files that they name, before any work."""

    @classmethod
    def actors(cls, params: Any, spec_path: Path, actor: str) -> list[str]:
        """Who its answers are by, as in the column `actor`: the one that the spec names, or those whom its files name."""
        return [actor]

    def resumed(self, rows: list[dict[str, Any]]) -> None:  # noqa: B027 - most count nothing
        """Is told, before it is asked, of answers that an earlier try of this step has left: they belong into its `detail`."""

    def prepare(self, prompts: pa.Table) -> pa.Table:
        """The prompts that it will answer, like ones side by side. Whatever it leaves out it says in `detail`."""
        return prompts

    @abstractmethod
    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Rows of `generations` (no partition columns), some at a time as they finish: the answers that `engine.generate.asks`
        reads from `asks`, each once."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Frees what it holds; may be called twice."""


_HELPERS = (
    *("answering", "asks", "budget", "calibrate", "cast", "ceiling", "drive", "encoding", "followup", "paid", "recordings", "rollout"),
    *("rows", "schema", "steps", "unanswered", "until"),
)
backends: Registry[type[Backend]] = Registry("generate", not_methods=_HELPERS)


def params(name: str, values: dict[str, Any], field: str) -> Any:
    """The validated settings of backend `name`, which stand in the spec at `field`; SpecError with every problem."""
    return validated(backends.load(name).Params, values, field, f"the backend {name!r}")


def check(name: str, values: dict[str, Any], field: str, spec_path: Path) -> None:
    """Raises what is wrong with backend `name` and its settings (SpecError, DataError), before any work."""
    backends.load(name).check(params(name, values, field), spec_path)
