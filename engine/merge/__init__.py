"""The merge room: checkpoints made of other checkpoints, without training. It fills rows of the table `checkpoints`.

A method is one file of `engine.merge.methods`: a pure function of the tensors of one name in every model. Models are read tensor
by tensor (`engine.merge.stream`), so that never a whole one is in memory; arithmetic is in float32.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import ValidationError

from engine.errors import SpecError
from engine.merge.folders import Whole
from engine.parts.part import Part
from engine.randomness import row_keys, uniforms
from engine.registry import Registry
from engine.spec import Merge, Spec
from engine.step import Context

if TYPE_CHECKING:
    from torch import Tensor

DRAWS = 1 << 22  # uniforms that are made at once


@dataclass(frozen=True)
class Named:
    """The tensors of one name, all float32 and of one shape: `members` in the order of the merge, and the base's where it has one.

    `weights`: one for each member. `block`: number of the decoder block that the tensor belongs to (None: outside all blocks), of
    `blocks`. `stream` starts the draws of (seed, round, role of the merge).
    """

    name: str
    members: Sequence[Tensor]
    weights: Sequence[float]
    base: Tensor | None = None
    block: int | None = None
    blocks: int = 0
    models: Sequence[str] = ()
    stream: tuple[int, int, str] = (0, 0, "policy")

    @property
    def vector(self) -> bool:
        """Whether this is a bias or the weight of a norm, and no matrix."""
        return self.members[0].ndim < 2

    def draws(self, member: int) -> Tensor:
        """A uniform number in [0, 1) for each entry of a member: of (seed, round, role, tensor, model, entry) and nothing else."""
        import torch

        seed, round_, role = self.stream
        model = self.models[member] if self.models else str(member)
        key = row_keys(seed, round_, f"merge/{role}", [f"{self.name}/{model}"])
        shape = self.members[member].shape
        found, size = np.empty(shape.numel()), shape.numel()
        for start in range(0, size, DRAWS):
            counters = np.arange(start, min(size, start + DRAWS), dtype=np.uint64)
            found[start : start + len(counters)] = uniforms(key, counters)
        return torch.from_numpy(found).reshape(shape)


@dataclass
class Job:
    """One merge: whole models by their names in the spec, where the result goes, and the dtype that its weights are saved in."""

    entry: Merge
    members: Mapping[str, Whole]
    base: Whole | None
    dtype: str
    out: Path
    ctx: Context
    label: str = "checkpoint"

    @property
    def stream(self) -> tuple[int, int, str]:
        """What draws depend on beside the tensor."""
        return self.ctx.spec.seed, self.ctx.round, self.entry.role


class NoParams(Part):
    """A method without settings of its own."""


class Merger(ABC):
    """A method of merging. `base`: whether it takes differences from one; `members`: how many models it merges (None: any number);
    `same_config`: whether all models must have the same config, beside equal tensors and tokenizers."""

    revision: ClassVar[int] = 1
    base: ClassVar[Literal["needed", "unused"]] = "unused"
    members: ClassVar[tuple[int, int | None]] = (1, None)
    weighted: ClassVar[bool] = True
    same_config: ClassVar[bool] = True
    Params: ClassVar[type[Part]] = NoParams

    def __init__(self, params: Any = None) -> None:
        self.params: Any = self.Params() if params is None else params

    @abstractmethod
    def tensor(self, named: Named) -> Tensor:
        """The merged tensor, of the same shape."""

    def settings(self, spec: Spec, spec_path: Path) -> dict[str, Any]:
        """JSON that enters the fingerprint beside the entry of `merge`."""
        return {}

    def refs(self, spec: Spec) -> list[Any]:
        """Parts that it reads beside the checkpoints."""
        return []

    def check(self, spec: Spec, entry: Merge, spec_path: Path) -> None:
        """SpecError for settings that cannot work, before any work."""
        return

    def merge(self, job: Job) -> dict[str, Any]:
        """Writes the merged model into `job.out`; what it gives stands in the ledger's `detail`. `soup`, where it is there, says which
        members are in the result: only those are its parents."""
        from engine.merge import stream

        return {"tensors": stream.merge(job, self.tensor, list(job.members), job.entry.weights or (1.0,) * len(job.members), job.out)}


Function = Callable[[Named], "Tensor"]
mergers: Registry[type[Merger]] = Registry("merge.methods")


def merger(entry: Merge) -> Merger:
    """The method of an entry of `merge`, its params checked. SpecError for an unknown method or param, a number of models that it
    cannot merge, and a base that it lacks or has no use for."""
    method = mergers.load(entry.method)
    fewest, most = method.members
    if not fewest <= len(entry.of) <= (most or len(entry.of)):
        wanted = f"{fewest} models" if most == fewest else f"{fewest} models or more" if most is None else f"{fewest} to {most} models"
        raise SpecError(f"merge.of: the method {entry.method} merges {wanted}, found {list(entry.of)}")
    if method.base == "needed" and entry.base is None:
        raise SpecError(f"merge.base: the method {entry.method} takes differences from a base, found none", hint="give previous or base")
    if method.base == "unused" and entry.base is not None:
        raise SpecError(f"merge.base: the method {entry.method} looks at no base, found {entry.base!r}", hint="leave it out")
    if not method.weighted and entry.weights is not None:
        raise SpecError(f"merge.weights: the method {entry.method} takes none", hint="leave them out")
    try:
        params = method.Params.model_validate(entry.params)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["merge.params", *(str(part) for part in first["loc"])])
        allowed = ", ".join(sorted(method.Params.model_fields)) or "none"
        text = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise SpecError(f"{place}: {text} (method {entry.method})", hint=f"its params: {allowed}") from error
    return method(params)
