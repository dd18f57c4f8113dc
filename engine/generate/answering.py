"""What the steps of the generate room share: which backends, samplers and models a round has, and prompts sent through them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.generate import TOGETHER, Backend, Job, backends, drive, params
from engine.generate.cast import Setup, model_of, model_ref, model_settings
from engine.spec import Sampler, Spec
from engine.step import Context, Ref, Step

COLUMNS = ("prompt_id", "messages")
SAMPLER = tuple(Sampler.model_fields)


class Answering(Step):
    """A step that asks for answers. Who answers, and how, says `setups`."""

    table: str | None = "generations"
    keeps_warm = True

    def __init__(self, spec: Spec) -> None:
        self.on_device = any(backends.load(how.backend).needs_model for how in self.setups(spec))

    @abstractmethod
    def setups(self, spec: Spec) -> list[Setup]:
        """Who answers in a round, and how."""

    def model_refs(self, spec: Spec) -> list[Ref]:
        """The models of the experiment that answer."""
        refs = [model_ref(how.model) for how in self.setups(spec) if backends.load(how.backend).needs_model]
        return [ref for ref in dict.fromkeys(refs) if ref is not None]

    def columns(self, spec: Spec) -> tuple[str, ...]:
        """The columns of prompts that the backends need."""
        more = [column for how in self.setups(spec) for column in backends.load(how.backend).reads]
        return (*COLUMNS, *dict.fromkeys(more))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """Backends, samplers and samples; seed and round only where something is drawn. The batch size changes no row."""
        found = [self.actor_settings(how, spec, spec_path) for how in self.setups(spec)]
        settings = found[0] if len(found) == 1 else {"actors": found}
        return settings | ({"seed": spec.seed, "round": round_} if self.draws(spec) else {})

    def actor_settings(self, how: Setup, spec: Spec, spec_path: Path) -> dict[str, Any]:
        """What enters the fingerprint of one actor."""
        backend = backends.load(how.backend)
        own = backend.settings(params(how.backend, dict(how.params), how.field), spec_path)
        settings: dict[str, Any] = {"backend": how.backend, "revision": backend.revision, "params": own, "samples": how.samples}
        if backend.needs_model:
            settings |= model_settings(how.model, spec_path)
            settings |= {"chat": spec.generate.chat, "trust_remote_code": spec.models.trust_remote_code}
        if backend.uses_sampler:
            settings |= how.sampler.model_dump(mode="json", include=set(SAMPLER))
        if spec.generate.keep_tokens:
            settings["keep_tokens"] = True
        return settings | {"actor": how.actor, "share": how.share}

    def draws(self, spec: Spec) -> bool:
        """Whether answers or askers are drawn, so that another round or seed gives others."""
        return any(how.share < 1 or (how.sampler.temperature > 0 and backends.load(how.backend).uses_sampler) for how in self.setups(spec))

    @contextmanager
    def backend(self, ctx: Context, how: Setup) -> Iterator[Backend]:
        """The actor's backend, closed at the end."""
        made = backends.load(how.backend)
        if made.needs_model and not made.keeps_engine and ctx.warm is not None:
            ctx.warm.close()  # the backend loads a model itself, where the engine has filled the memory
        job = Job(
            params=params(how.backend, dict(how.params), how.field),
            sampler=how.sampler,
            samples=how.samples,
            chat=ctx.spec.generate.chat,
            model=model_of(ctx, how.model) if made.needs_model else None,
            device=ctx.device,
            seed=ctx.spec.seed,
            round=ctx.round,
            step=self.name,
            trust_remote_code=ctx.spec.models.trust_remote_code,
            spec_path=ctx.spec_path,
            actor=how.actor,
            keep_tokens=ctx.spec.generate.keep_tokens,
            warm=ctx.warm,
            batch=how.batch,
        )
        backend = made(job)
        try:
            yield backend
        finally:
            backend.close()

    def answer(self, ctx: Context, how: Setup, backend: Backend, asks: pa.Table, journal: Path | None = None, label: str = "") -> pa.Table:
        """The answers to prompts that the backend has prepared; finished ones are in the journal."""
        folder, label = journal or ctx.journal, label or self.name
        return drive.answers(
            backend, asks, batch=TOGETHER if how.batch == "auto" else how.batch, journal=folder, progress=ctx.progress, label=label
        )

    def note(self, ctx: Context, backend: Backend) -> None:
        """Says what the backend has left out."""
        for what, count in backend.detail.items():
            if count and not isinstance(count, dict):
                ctx.progress.note(f"{self.name}: {what.replace('_', ' ')}: {count}")


def in_order(rows: pa.Table, prompts: pa.Table, actors: Sequence[str] = ()) -> pa.Table:
    """Answers in the order of their prompts, then of `actors`, then of the samples."""
    place = pc.index_in(rows["prompt_id"], value_set=prompts["prompt_id"].combine_chunks())
    actor = pc.index_in(rows["actor"], value_set=pa.array(actors, pa.string()))
    keys = pa.table({"place": place, "actor": actor, "sample": rows["sample"]})
    return rows.take(pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names]))


def own_model(spec: Spec) -> tuple[str, Mapping[str, Any]]:
    """The backend and its settings for answers that a model of the experiment must give: those of `generate`, or, where that
    takes answers from elsewhere, `transformers`."""
    if backends.load(spec.generate.backend).needs_model:
        return spec.generate.backend, spec.generate.params
    return "transformers", {}
