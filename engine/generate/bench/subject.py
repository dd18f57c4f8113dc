"""What is measured: the spec's model, sampler and first prompts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import models, tables
from engine.context import find_model
from engine.device import requested, resolve
from engine.errors import ModelError, SpecError
from engine.experiment import Experiment
from engine.generate import backends
from engine.generate.cast import CHECKPOINTS, EARLIER, Setup, cast
from engine.ledger import DEVICE, Ledger
from engine.prompts.splits import load
from engine.randomness import shuffled
from engine.spec import Spec
from engine.specfile import at
from engine.step import BASE, Device, Model


@dataclass
class Subject:
    """An experiment as its next round would generate. `which` is the model that is asked for: policy, base, or a folder or hub id."""

    experiment: Experiment
    which: str = "policy"
    max_tokens: int | None = None

    @cached_property
    def round(self) -> int:
        """The next round, or the last one where all are done."""
        return min(max(0, self.experiment.state().unopened()), self.experiment.spec.rounds - 1)

    @cached_property
    def spec(self) -> Spec:
        """The spec of that round."""
        return at(self.experiment.spec, self.round)

    @cached_property
    def setups(self) -> list[Setup]:
        """The actors of the round, then how checkpoints are measured where that names a backend: what has settings in the spec."""
        found, own = cast(self.spec), self.spec.evaluate
        if own.backend is not None:
            found.append(Setup(own.backend, own.params, "evaluate.params", own, own.samples, own.batch, "checkpoint"))
        return found

    @cached_property
    def present(self) -> Setup:
        """How the spec generates now: the first actor whose answers are drawn, else the first of all."""
        drawn = [how for how in cast(self.spec) if backends.load(how.backend).uses_sampler]
        how = (drawn or self.setups)[0]
        if self.max_tokens is not None:
            how = how._replace(sampler=how.sampler.model_copy(update={"max_tokens": self.max_tokens}))
        return how

    def params_of(self, backend: str) -> dict[str, Any]:
        """The settings that the spec has for a backend; none where it does not name it."""
        return next((dict(how.params) for how in [self.present, *self.setups] if how.backend == backend), {})

    @cached_property
    def device(self) -> Device:
        """As the experiment has it in the ledger, else as its first run would decide."""
        compute = self.spec.compute
        entry = Ledger(self.experiment.lake, self.experiment.name).get(BASE, DEVICE)
        known = entry is not None and entry.detail.get("requested") == requested(compute)
        return Device(**(entry.ingredients if entry is not None and known else resolve(compute)))

    @cached_property
    def model(self) -> Model:
        """The model that answers. SpecError where the experiment has still to train it, ModelError where it is missing or broken."""
        own, name = self.experiment, self.which
        if name == "policy" and not CHECKPOINTS.get(self.present.model) and not EARLIER.fullmatch(self.present.model):
            name = self.present.model  # an actor with a model from outside
        if name not in ("policy", "base"):
            return self._outside(name)
        state = own.state()
        digest = state.policy(state.unopened()) if name == "policy" else self._base()
        if digest is not None:
            return find_model(own.lake, own.home, own.name, digest)
        if own.spec.models.policy is not None:
            path = models.resolve(own.spec.models.policy, own.path)
            models.check(path)
            return Model(models.digest(path), path)
        text = f"{own.name} has no model yet: its base is to be trained"
        raise SpecError(text, where=str(own.path), hint=f"`rondo run {own.name} --until base` trains it, or give `--model FOLDER`")

    def _base(self) -> str | None:
        own = self.experiment
        rows = own.lake.read("checkpoints", experiment=own.name, rounds=[BASE], part="policy", columns=["digest", "at"]).to_pylist()
        return max(rows, key=lambda row: row["at"], default={"digest": None})["digest"]

    def _outside(self, name: str) -> Model:
        """A folder (as the shell sees it, or beside the spec) or hub id."""
        path = Path(name).expanduser().absolute()
        path = path if path.is_dir() else models.resolve(name, self.experiment.path)
        try:
            models.check(path)
        except ModelError as error:
            raise ModelError(f"--model: {error.message}", where=error.where, hint=error.hint) from error
        return Model(models.digest(path), path)

    def prompts(self, most: int) -> pa.Table:
        """The first prompts of the pool in the order in which rounds draw them, with the columns of the table `prompts`; at most a
        round's. Hygiene and shares of a mix are left out: they choose prompts, and no prompt's cost depends on them."""
        own = self.spec.prompts
        rows = load(own, self.experiment.path.parent).train
        order = shuffled(self.spec.seed, 0, "prompts", [row["prompt_id"] for row in rows])
        chosen = [rows[i] for i in order[: min(most, own.per_round or most)]]
        schema = tables.TABLES["prompts"].columns
        return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in chosen], schema=schema)
