"""What a running step sees: its round's parts, SQL over them, and the models it may load."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from engine.errors import ModelError, StepError
from engine.home import Home
from engine.promotion import Decision
from engine.query import Session, Window
from engine.spec import Spec
from engine.step import BASE, POLICY, Device, Model, Progress, Ref

if TYPE_CHECKING:
    from engine.lake import Lake
    from engine.rounds import State
    from engine.warm import Warm


@dataclass
class StepContext:
    """The runner's `engine.step.Context`."""

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
    state: State
    step: str
    warm: Warm

    @property
    def experiment(self) -> str:
        """The experiment's name; rows must not depend on it."""
        return self.spec.experiment

    def read(self, ref: Ref, columns: Iterable[str] | None = None) -> pa.Table:
        """Rows of a part, partition columns included, as they are now."""
        if ref.when == "history":
            return self.lake.read(ref.table, experiment=self.experiment, rounds=range(BASE, self.round), part=ref.part, columns=columns)
        own = self.round if ref.when == "round" else BASE
        if ref.part is not None:
            return self.lake.read(ref.table, experiment=self.experiment, rounds=[own], part=ref.part, columns=columns)
        parts = self.state.graph(own).parts(ref)
        return pa.concat_tables(
            [self.lake.read(t, experiment=self.experiment, rounds=[own], part=p, columns=columns) for t, p in parts]
            or [self.lake.read(ref.table, experiment=self.experiment, rounds=[], columns=columns)]
        )

    def sql(self, query: str, params: dict[str, Any]) -> pa.Table:
        """DuckDB over this round (bare names) and `history`; binds the parameters that the query names."""
        return self.session().table(query, params, where=f"{self.experiment}/{self.round} {self.step}")

    def session(self) -> Session:
        """A DuckDB session over this round and `history`, never over `lake`."""
        window = Window(self.experiment, self.round, lake=False)
        return Session(self.lake, window, memory_limit=self.spec.compute.memory_limit, spill=self.home.journal / "spill")

    def decisions(self) -> list[Decision]:
        """The promotions that count, oldest first."""
        return self.state.decisions()

    def model(self, which: Literal["policy", "base", "checkpoint", "own"], role: str = POLICY, ago: int = 0) -> Model:
        """The policy of the round (or of `ago` rounds before), the base, the checkpoint that this round has trained for a role, or
        the role's own of the last round that had one (else the base); checked against its digest."""
        if which == "policy":
            digest = self.state.policy(max(0, self.round - ago))
        elif which == "own":
            digest = self._newest(range(self.round), role) or self._newest([BASE], POLICY)
        else:
            digest = self._newest([self.round if which == "checkpoint" else BASE], role)
        if digest is None:
            raise StepError(f"{self.step} of round {self.round}: there is no {which} model yet", hint="`rondo status` shows what ran")
        return find_model(self.lake, self.home, self.experiment, digest)

    def _newest(self, rounds: Iterable[int], role: str) -> str | None:
        """Digest of the last checkpoint of a role in some rounds, the last round first."""
        rows = self.lake.read("checkpoints", experiment=self.experiment, rounds=rounds, part=role, columns=["round", "digest", "at"])
        row = max(rows.to_pylist(), key=lambda row: (row["round"], row["at"]), default=None)
        return row["digest"] if row else None

    def inputs(self) -> list[dict[str, Any]]:
        """Table, part, round, content hash, version and files of everything that the step reads, and the lake's versions."""
        found = []
        for ref in self.state.graph(self.round).refs[self.step]:
            rounds = range(BASE, self.round) if ref.when == "history" else [self.round if ref.when == "round" else BASE]
            if ref.table == "policy":
                continue
            for file in self.lake.files(ref.table, experiment=self.experiment, rounds=rounds, part=ref.part):
                found.append(
                    {"table": ref.table, "part": file.part, "round": file.round, "file": file.uri.removeprefix(self.lake.uri + "/")}
                )
        hashes = {(e.round, key): value for e in self.state.entries.values() for key, value in e.hashes.items()}
        versions = self.lake.versions()
        for row in found:
            row["content_hash"] = hashes.get((row["round"], f"{row['table']}/{row['part']}"))
            row["version"] = versions[row["table"]]
        return [{"versions": versions}, *json.loads(json.dumps(found))]


def find_model(lake: Lake, home: Home, experiment: str, digest: str) -> Model:
    """The checkpoint of an experiment with that digest. ModelError where its folder is gone or changed."""
    from engine import models
    from engine.train.checkpoint import locate

    rows = lake.read("checkpoints", experiment=experiment, columns=["digest", "path", "at"]).to_pylist()
    row = max((row for row in rows if row["digest"] == digest), key=lambda row: row["at"], default=None)
    if row is None:
        raise ModelError(f"no checkpoint {digest} in {experiment}", hint="`rondo sql 'select digest, path from lake.checkpoints'`")
    path = locate(home, row["path"])
    if not path.is_dir():
        again = "base" if row["round"] == BASE else row["round"]
        raise ModelError(
            f"checkpoint {digest} of round {row['round']} has vanished",
            where=str(path),
            hint=f"restore the folder, or train it again with `rondo run {experiment} --from {again}`",
        )
    found = models.digest(path)
    if found != digest:
        raise ModelError(
            f"the model's files have changed: expected digest {digest}, found {found}",
            where=str(path),
            hint="restore the files, or fork the experiment to use the changed model",
        )
    return Model(digest, path)
