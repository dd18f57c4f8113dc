"""What a step is: the parts it reads, the part it owns, the settings that enter its fingerprint, and how it runs.

Each room defines its steps in `engine/<room>/steps.py`; `engine.graph` puts them together. A step never writes: it
returns rows, and the runner commits them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pyarrow as pa

from engine.home import Home
from engine.spec import Spec

if TYPE_CHECKING:
    from engine.lake import Lake
    from engine.promotion import Decision
    from engine.warm import Warm

BASE = -1
POLICY = "policy"


@dataclass(frozen=True)
class Ref:
    """A part that a step reads: of its own round, of the base (round -1), or of all earlier rounds.

    `part` None means every part of the table but the ones of evaluation. Ref("policy") is the round's policy, with `ago` that of
    so many rounds before (of round 0 where there were fewer).
    """

    table: str
    part: str | None = None
    when: Literal["round", "base", "history"] = "round"
    ago: int = 0


@dataclass(frozen=True)
class Model:
    """A model on disk."""

    digest: str
    path: Path


@dataclass(frozen=True)
class Device:
    """Where torch runs; resolved once per experiment. `attention`: what the spec asks for, else auto or auto:flash_attention_2 (see
    `engine.attention`)."""

    device: str
    threads: int
    dtype: str
    attention: str = "auto"


@dataclass
class Output:
    """What a step made: rows by (table, part), the step's own part first; the runner adds partition columns."""

    rows: dict[tuple[str, str], pa.Table]
    rows_in: int
    detail: dict[str, Any] = field(default_factory=dict)


class Progress(Protocol):
    """Shows how far a step is. `done` rows were found in the journal."""

    def begin(self, label: str, total: int, done: int = 0, unit: str = "rows") -> None: ...
    def advance(self, rows: int) -> None: ...

    def figures(self, text: str) -> None:
        """The newest numbers of the work itself, shown beside how far it is."""
        ...

    def note(self, text: str) -> None: ...
    def end(self) -> None: ...


class Silent:
    """A Progress that shows nothing."""

    def begin(self, label: str, total: int, done: int = 0, unit: str = "rows") -> None: ...
    def advance(self, rows: int) -> None: ...
    def figures(self, text: str) -> None: ...
    def note(self, text: str) -> None: ...
    def end(self) -> None: ...


class Context(Protocol):
    """What a running step may touch. `spec` is that of the round (stages applied)."""

    spec: Spec
    spec_path: Path
    round: int
    home: Home
    lake: Lake
    device: Device
    fingerprint: str
    attempt: str
    opening: int
    journal: Path
    progress: Progress

    @property
    def warm(self) -> Warm | None:
        """Keeps a started engine for later steps; None: nobody does."""
        ...

    def read(self, ref: Ref, columns: Iterable[str] | None = None) -> pa.Table:
        """Rows of a part, partition columns included, as they are now."""
        ...

    def sql(self, query: str, params: dict[str, Any]) -> pa.Table:
        """DuckDB over this round (bare names) and `history`; binds the parameters that the query names."""
        ...

    def model(self, which: Literal["policy", "base", "checkpoint", "own"], role: str = POLICY, ago: int = 0) -> Model:
        """The policy of the round (or of `ago` rounds before), the base, the checkpoint that this round has trained for a role, or
        the role's own of the last round that had one (else the base); checked against its digest."""
        ...

    def decisions(self) -> list[Decision]:
        """The promotions of this experiment that count, oldest first."""
        ...

    def inputs(self) -> list[dict[str, Any]]:
        """Table, part, round, content hash, version and files of everything that the step reads."""
        ...


class Step(ABC):
    """One step of a round. `revision` rises when the method's output changes for equal inputs."""

    name: str
    table: str | None
    part: str
    revision: int = 1
    on_device: bool = False
    keeps_warm: bool = False  # whether engines that earlier steps started may stay while it runs

    @abstractmethod
    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """Parts that enter the fingerprint and order the graph."""

    @abstractmethod
    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """JSON that enters the fingerprint: the part of the spec that it reads, SQL texts, digests of files."""

    @abstractmethod
    def run(self, ctx: Context) -> Output:
        """Makes the rows."""

    def active(self, spec: Spec, round_: int) -> bool:
        """Whether the round has this step; an inactive one reports `skipped`."""
        return round_ != BASE

    def writes(self) -> list[tuple[str, str]]:
        """Every (table, part) that the step owns."""
        return [(self.table, self.part)] if self.table else []

    def fills(self, round_: int) -> list[tuple[str, str]]:
        """Those of `writes` that it fills in a round."""
        return self.writes()
