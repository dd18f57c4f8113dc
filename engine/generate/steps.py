"""The steps of the generate room: `generations` (the policy answers the round's prompts) and `eval_generations`
(the new checkpoint answers the held-out prompts)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from engine import operators
from engine.generate import Backend, Job, backends, params
from engine.spec import Evaluate, Generate, Sampler, Spec
from engine.specfile import at
from engine.step import BASE, Context, Output, Ref, Step

COLUMNS = ("prompt_id", "messages")
SAMPLER = tuple(Sampler.model_fields)


class _Answers(Step):
    """What both steps share: `_setup` says which backend, sampler and parameters a round has."""

    table: str | None = "generations"
    which: Literal["policy", "checkpoint"]

    def __init__(self, spec: Spec) -> None:
        self.on_device = self._backend(spec).needs_model

    @abstractmethod
    def _setup(self, spec: Spec) -> tuple[str, Generate | Evaluate, Mapping[str, Any], str]:
        """The backend's name, the settings, the backend's own settings, and the field where those stand."""

    def _backend(self, spec: Spec) -> type[Backend]:
        return backends.load(self._setup(spec)[0])

    @abstractmethod
    def prompts(self, spec: Spec) -> list[Ref]:
        """The parts with the prompts that are answered, in order."""

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """The model, where the backend needs one, and the prompts."""
        model = Ref("policy") if self.which == "policy" else Ref("checkpoints", "policy")
        return [*([model] if self._backend(spec).needs_model else []), *self.prompts(spec)]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """Backend, sampler and samples; seed and round only where something is drawn. The batch size changes no row."""
        name, chosen, values, field = self._setup(spec)
        backend = backends.load(name)
        own = backend.settings(params(name, dict(values), field), spec_path)
        settings: dict[str, Any] = {"backend": name, "revision": backend.revision, "params": own, "samples": chosen.samples}
        if backend.needs_model:
            settings |= chosen.model_dump(mode="json", include=set(SAMPLER))
            settings |= {"chat": spec.generate.chat, "trust_remote_code": spec.models.trust_remote_code}
            if chosen.temperature > 0:
                settings |= {"seed": spec.seed, "round": round_}
        return settings

    def run(self, ctx: Context) -> Output:
        """Answers every prompt; rows in the order of the prompts, then of the samples."""
        name, chosen, values, field = self._setup(ctx.spec)
        backend_class = backends.load(name)
        job = Job(
            params=params(name, dict(values), field),
            sampler=chosen,
            samples=chosen.samples,
            chat=ctx.spec.generate.chat,
            model=ctx.model(self.which) if backend_class.needs_model else None,
            device=ctx.device,
            seed=ctx.spec.seed,
            round=ctx.round,
            step=self.name,
            trust_remote_code=ctx.spec.models.trust_remote_code,
            spec_path=ctx.spec_path,
        )
        backend = backend_class(job)
        prompts = pa.concat_tables([ctx.read(ref, COLUMNS).select(COLUMNS) for ref in self.prompts(ctx.spec)])
        ready = backend.prepare(prompts)
        for what, count in backend.detail.items():
            if count:
                ctx.progress.note(f"{self.name}: {what.replace('_', ' ')}: {count}")
        rows = operators.run(
            lambda: backend,
            ready,
            key="prompt_id",
            batch=max(1, chosen.batch // chosen.samples),
            journal=ctx.journal,
            progress=ctx.progress,
            label=self.name,
            per_row=chosen.samples,
        )
        return Output({("generations", self.part): _sorted(rows, prompts)}, rows_in=prompts.num_rows, detail=backend.detail)


def _sorted(rows: pa.Table, prompts: pa.Table) -> pa.Table:
    place = pc.index_in(rows["prompt_id"], value_set=prompts["prompt_id"].combine_chunks())
    order = pc.sort_indices(pa.table({"place": place, "sample": rows["sample"]}), [("place", "ascending"), ("sample", "ascending")])
    return rows.take(order)


class Generations(_Answers):
    """The round's policy answers the round's prompts."""

    name = "generations"
    part = "rollout"
    which = "policy"

    def _setup(self, spec: Spec) -> tuple[str, Generate | Evaluate, Mapping[str, Any], str]:
        return spec.generate.backend, spec.generate, spec.generate.params, "generate.params"

    def prompts(self, spec: Spec) -> list[Ref]:
        """The round's training prompts."""
        return [Ref("prompts", "train")]


class EvalGenerations(_Answers):
    """The round's checkpoint answers the held-out prompts of the base round."""

    name = "eval_generations"
    part = "eval"
    which = "checkpoint"

    def _setup(self, spec: Spec) -> tuple[str, Generate | Evaluate, Mapping[str, Any], str]:
        """As `evaluate` says, else as `generate` does; a checkpoint cannot be measured by answers of others, so a backend
        without a model is used only where `evaluate` names it."""
        own = spec.evaluate
        if own.backend is None and backends.load(spec.generate.backend).needs_model:
            return spec.generate.backend, own, {**spec.generate.params, **own.params}, "evaluate.params"
        return own.backend or "transformers", own, own.params, "evaluate.params"

    def prompts(self, spec: Spec) -> list[Ref]:
        """The held-out splits that the spec has."""
        return [Ref("prompts", split, "base") for split in ("gate", "test") if getattr(spec.prompts, split) is not None]

    def active(self, spec: Spec, round_: int) -> bool:
        """In the base and in every round, where there are held-out prompts."""
        return round_ >= BASE and bool(self.prompts(spec))


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """The room's steps. `generations` is always listed; the graph leaves it out where nothing reads it."""
    return [Generations(spec), EvalGenerations(spec)]


def check(spec: Spec, spec_path: Path) -> None:
    """Raises SpecError or DataError for a backend or settings of one that cannot work, before anything runs."""
    for step in steps(spec):
        for round_ in range(spec.rounds) if spec.stages else range(1):
            if step.active(at(spec, round_), round_):
                step.settings(at(spec, round_), round_, spec_path)
