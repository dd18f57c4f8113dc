"""The steps that train: `checkpoint` for the policy (also the base), `checkpoint_<role>` for every other model of a round."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import models
from engine.errors import StepError
from engine.spec import Base, Spec, Train
from engine.step import BASE, POLICY, Context, Output, Ref, Step
from engine.tables import TABLES
from engine.train import Job, Trained, checkpoint, objective, past, sources, summary

IMPORTED = "imported"


@dataclass
class _Made:
    """A model on disk, and what its checkpoints row says of it."""

    digest: str
    folder: Path
    parents: list[str]
    objective: str
    trained: Trained | None = None


class CheckpointStep(Step):
    """Trains the model of one role on the rows selected for it; at the base the policy is trained from nothing or imported."""

    table, on_device, revision = "checkpoints", True, 1

    def __init__(self, role: str, train: Train | None = None, more: list[tuple[str, str]] | None = None) -> None:
        """`more`: what the training fills beside the step's own tables."""
        self.role = self.part = role
        self.objective = objective(train) if train else None
        self._more = more or []
        self.name = "checkpoint" if role == POLICY else f"checkpoint_{role}"

    def active(self, spec: Spec, round_: int) -> bool:
        """The base has a policy and no other role."""
        return self.role == POLICY if round_ == BASE else any(train.role == self.role for train in spec.train)

    def writes(self) -> list[tuple[str, str]]:
        return [*((table, self.role) for table in ("checkpoints", "trained_rows", "training_log")), *self._more]

    def fills(self, round_: int) -> list[tuple[str, str]]:
        """The base's pre-training is supervised, whatever the rounds do."""
        return [key for key in self.writes() if round_ != BASE or key not in self._more]

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        if round_ == BASE:
            return [Ref("selected", self.role)] if spec.base else []
        train = self._train(spec, round_)
        method = objective(train)
        refs = method.refs(spec, round_) if method.reads == "prompts" else [Ref(method.reads, self.role), *method.refs(spec, round_)]
        for name in train.sources:
            refs += sources.refs(name, self.role)
        refs += past.refs(train)
        return list(dict.fromkeys(refs))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        if round_ == BASE and not spec.base:
            return {"imported": _named(str(spec.models.policy), spec_path)}
        train = self._train(spec, round_)
        found = objective(train)
        params = found.params.model_dump(mode="json")
        settings = {
            "train": train.model_dump(mode="json", exclude={"save_every", "diverge", "first", "select", "pairs"}) | {"params": params},
            "objective_revision": found.revision,
            **found.settings(spec, round_, spec_path),
            **past.settings(train, spec.rounds),
            "seed": spec.seed,
            "round": round_,
            "chat": spec.generate.chat,
        }
        return settings | ({"model": spec.base.model.model_dump(mode="json")} if round_ == BASE and spec.base else {})

    def run(self, ctx: Context) -> Output:
        if ctx.round == BASE and not ctx.spec.base:
            folder = models.resolve(str(ctx.spec.models.policy), ctx.spec_path)
            return self._output(ctx, _Made(models.digest(folder), folder, [], IMPORTED), 0)
        train = self._train(ctx.spec, ctx.round)
        method = objective(train)
        rows = ctx.read(Ref("prompts", "train")) if method.reads == "prompts" else ctx.read(Ref(method.reads, self.role))
        if not rows.num_rows:
            source = "demonstrations" if ctx.round == BASE else method.reads
            raise StepError(
                f"{self.name} of round {ctx.round}: no row to train on for role {self.role}",
                hint=f"look at the step `{source}`: is its score threshold too high for this policy?",
            )
        checkpoint.ready(ctx.home)
        job = self._job(ctx, train, rows)
        trained = method.train(job)
        if trained.rows_expected != trained.rows_trained:
            raise StepError(
                f"{self.name} of round {ctx.round}: expected {trained.rows_expected} rows to train, found {trained.rows_trained}",
                where=str(ctx.journal),
                hint="remove this journal folder and run again",
            )
        parents = [] if ctx.round == BASE else [sources.model(ctx, train.init, self.role).digest]
        card = self._card(ctx, trained, train, parents)
        digest, folder = checkpoint.publish(ctx.home, trained.folder, card)
        return self._output(ctx, _Made(digest, folder, parents, train.objective, trained), rows.num_rows)

    def _train(self, spec: Spec, round_: int) -> Train:
        """How this role trains in this round; the base's pre-training is supervised and starts from nothing."""
        if round_ == BASE and spec.base:
            return Train(role=self.role, objective="sft", init="base", reference="none", data="round", **spec.base.train.model_dump())
        return next(train for train in spec.train if train.role == self.role)

    def _job(self, ctx: Context, train: Train, rows: pa.Table) -> Job:
        start = _tiny(ctx, ctx.spec.base, rows) if ctx.round == BASE and ctx.spec.base else None
        init = None if start else sources.model(ctx, train.init, self.role)
        before = past.of(ctx, train, init) if init else past.Past()
        runs = objective(train).compares == "model"
        reference = sources.model(ctx, next(iter(train.references)), self.role).path if runs else None
        return Job(
            model=start or before.model or sources.model(ctx, train.init, self.role).path,
            rows=rows,
            settings=train,
            device=ctx.device,
            seed=ctx.spec.seed,
            round=ctx.round,
            out=checkpoint.staging(ctx.journal),
            state=ctx.journal / "trainer",
            progress=ctx.progress,
            label=self.name,
            reference=reference,
            chat=ctx.spec.generate.chat,
            trust_remote_code=ctx.spec.models.trust_remote_code,
            ctx=ctx,
            past=before,
        )

    def _card(self, ctx: Context, trained: Trained, train: Train, parents: list[str]) -> dict[str, Any]:
        return {
            "role": self.role,
            "round": ctx.round,
            "parents": parents,
            "objective": train.objective,
            "settings": self.settings(ctx.spec, ctx.round, ctx.spec_path) | trained.settings,
            "seed": ctx.spec.seed,
            "inputs": ctx.inputs(),
            "packages": checkpoint.packages(),
            "rows_expected": trained.rows_expected,
            "rows_trained": trained.rows_trained,
            "tokens": trained.tokens,
            "steps": trained.steps,
            "loss": trained.loss,
            "seconds": trained.seconds,
            "device": asdict(ctx.device),
            "attempt": ctx.attempt,
            "at": datetime.now(UTC).isoformat(),
        }

    def _output(self, ctx: Context, made: _Made, rows_in: int) -> Output:
        trained = made.trained
        row = checkpoint.row(
            ctx,
            role=self.role,
            digest=made.digest,
            folder=made.folder,
            parents=made.parents,
            objective=made.objective,
            settings=self.settings(ctx.spec, ctx.round, ctx.spec_path) | (trained.settings if trained else {}),
            trained=trained,
        )
        order = trained.row_ids if trained else []
        consumed = {"digest": [made.digest] * len(order), "position": list(range(len(order))), "row_id": order}
        tables = {
            ("checkpoints", self.role): pa.Table.from_pylist([row], schema=TABLES["checkpoints"].columns),
            ("trained_rows", self.role): pa.table(consumed, schema=TABLES["trained_rows"].columns),
            ("training_log", self.role): pa.Table.from_pylist(
                [row | {"digest": made.digest} for row in (trained.log if trained else [])], schema=TABLES["training_log"].columns
            ),
            **(trained.tables if trained else {}),
        }
        detail: dict[str, Any] = {"digest": made.digest}
        if trained:
            found = summary.numbers(trained.log)
            detail |= {"summary": summary.text(found), "loss": trained.loss, **found, "steps": trained.steps, **trained.detail}
        return Output(tables, rows_in, detail)


def _tiny(ctx: Context, base: Base, rows: pa.Table) -> Path:
    """The untrained model of the base, made anew in the journal (the same every time)."""
    from engine.train import tiny
    from engine.train.quiet import quiet

    folder = ctx.journal / "untrained"
    texts = [message["content"] for row in rows["messages"].to_pylist() for message in row]
    with quiet():
        tiny.build(texts, base.model, seed=ctx.spec.seed, folder=folder)
    return folder


def _named(policy: str, spec_path: Path) -> str:
    """What names a model folder, or the hub id as it stands: a plan must not reach for the network."""
    folder = (spec_path.parent / Path(policy).expanduser()).absolute()
    return models.named(folder) if folder.is_dir() else policy


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """The steps of this room: the policy's first, then one a role."""
    own = {train.role: train for train in spec.train}
    more = {train.role: objective(train).writes(spec, train.role) for train in spec.train}
    return [CheckpointStep(role, own.get(role), more.get(role)) for role in dict.fromkeys([POLICY, *own])]
