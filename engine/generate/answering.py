"""What the steps of the generate room share: which backend, sampler and model a round has, and prompts sent through it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from engine import operators
from engine.generate import Backend, Job, backends, params
from engine.generate.asks import asked, batches
from engine.spec import Sampler, Spec
from engine.step import Context, Ref, Step

COLUMNS = ("prompt_id", "messages")
SAMPLER = tuple(Sampler.model_fields)
MODELS = {"policy": Ref("policy"), "checkpoint": Ref("checkpoints", "policy"), "base": Ref("checkpoints", "policy", "base")}


class Setup(NamedTuple):
    """How a step answers: the backend's name and its own settings (which stand at `field`), the sampler, answers a prompt,
    and answers that are sampled together."""

    backend: str
    params: Mapping[str, Any]
    field: str
    sampler: Sampler
    samples: int
    batch: int


class Answering(Step):
    """A step that asks a model for answers. `which` model says `model_of`, everything else `setup`."""

    table: str | None = "generations"

    def __init__(self, spec: Spec) -> None:
        self.on_device = self._backend(spec).needs_model

    @abstractmethod
    def setup(self, spec: Spec) -> Setup:
        """How it answers in a round."""

    @abstractmethod
    def model_of(self, spec: Spec) -> Literal["policy", "checkpoint", "base"]:
        """Who answers."""

    def _backend(self, spec: Spec) -> type[Backend]:
        return backends.load(self.setup(spec).backend)

    def model_refs(self, spec: Spec) -> list[Ref]:
        """The model, where the backend needs one."""
        return [MODELS[self.model_of(spec)]] if self._backend(spec).needs_model else []

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """Backend, sampler and samples; seed and round only where something is drawn. The batch size changes no row."""
        how = self.setup(spec)
        backend = backends.load(how.backend)
        own = backend.settings(params(how.backend, dict(how.params), how.field), spec_path)
        settings: dict[str, Any] = {"backend": how.backend, "revision": backend.revision, "params": own, "samples": how.samples}
        if backend.needs_model:
            settings |= how.sampler.model_dump(mode="json", include=set(SAMPLER))
            settings |= {"chat": spec.generate.chat, "trust_remote_code": spec.models.trust_remote_code}
            if self.draws(spec):
                settings |= {"seed": spec.seed, "round": round_}
        return settings

    def draws(self, spec: Spec) -> bool:
        """Whether answers are drawn, so that another round or seed gives others."""
        return self.setup(spec).sampler.temperature > 0

    def backend(self, ctx: Context, sampler: Sampler | None = None) -> Backend:
        """The backend of the round, with another sampler where one is given."""
        how = self.setup(ctx.spec)
        made = backends.load(how.backend)
        job = Job(
            params=params(how.backend, dict(how.params), how.field),
            sampler=sampler or how.sampler,
            samples=how.samples,
            chat=ctx.spec.generate.chat,
            model=ctx.model(self.model_of(ctx.spec)) if made.needs_model else None,
            device=ctx.device,
            seed=ctx.spec.seed,
            round=ctx.round,
            step=self.name,
            trust_remote_code=ctx.spec.models.trust_remote_code,
            spec_path=ctx.spec_path,
        )
        return made(job)

    def answer(self, ctx: Context, backend: Backend, prompts: pa.Table, journal: Path | None = None, label: str = "") -> pa.Table:
        """The answers to prompts that the backend has prepared; finished batches are in the journal."""
        counts = asked(backend.job, prompts).counts
        return operators.run(
            lambda: backend,
            prompts,
            key="prompt_id",
            batch=batches(counts, self.setup(ctx.spec).batch),
            journal=journal or ctx.journal,
            progress=ctx.progress,
            label=label or self.name,
            per_row=dict(zip(prompts["prompt_id"].to_pylist(), counts, strict=True)),
        )

    def note(self, ctx: Context, backend: Backend) -> None:
        """Says what the backend has left out."""
        for what, count in backend.detail.items():
            if count:
                ctx.progress.note(f"{self.name}: {what.replace('_', ' ')}: {count}")


def in_order(rows: pa.Table, prompts: pa.Table) -> pa.Table:
    """Answers in the order of their prompts, then of the samples."""
    place = pc.index_in(rows["prompt_id"], value_set=prompts["prompt_id"].combine_chunks())
    order = pc.sort_indices(pa.table({"place": place, "sample": rows["sample"]}), [("place", "ascending"), ("sample", "ascending")])
    return rows.take(order)


def own_model(spec: Spec) -> tuple[str, Mapping[str, Any]]:
    """The backend and its settings for answers that a model of the experiment must give: those of `generate`, or, where that
    takes answers from elsewhere, `transformers`."""
    if backends.load(spec.generate.backend).needs_model:
        return spec.generate.backend, spec.generate.params
    return "transformers", {}
