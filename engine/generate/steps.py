"""The steps of the generate room: `generations` (the policy answers the round's prompts), `eval_generations` (the new
checkpoint answers the held-out prompts), and where the spec has them a calibration before and follow-ups after."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from engine.errors import SpecError
from engine.generate import Backend, backends, calibrate, followup
from engine.generate.answering import COLUMNS, Answering, Setup, in_order, own_model
from engine.generate.budget import Budget
from engine.generate.until import Tally, sample
from engine.score import waves
from engine.spec import Spec
from engine.specfile import at
from engine.step import BASE, Context, Output, Ref, Step

TRAIN = Ref("prompts", "train")


class Generations(Answering):
    """The round's policy answers the round's prompts: `samples` times, as often as a plan says, or until enough are right."""

    name, part = "generations", "rollout"

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.judged = [scorer.column for scorer in spec.score] if spec.generate.until else []

    def writes(self) -> list[tuple[str, str]]:
        """The answers, and where they are judged in waves the verdicts, which the score steps take over."""
        return [*super().writes(), *(("scores", f"until/{column}") for column in self.judged)]

    def setup(self, spec: Spec) -> Setup:
        own = spec.generate
        return Setup(own.backend, own.params, "generate.params", own, own.samples, own.batch)

    def model_of(self, spec: Spec) -> Literal["policy", "checkpoint", "base"]:
        return "policy"

    def draws(self, spec: Spec) -> bool:
        return super().draws(spec) or spec.generate.plan is not None  # the plan may say another temperature

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """The policy, where the backend needs one, the round's training prompts, and the plan that it follows."""
        return [*self.model_refs(spec), TRAIN, *([Ref("plan", spec.generate.plan)] if spec.generate.plan else [])]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        settings, until = super().settings(spec, round_, spec_path), spec.generate.until
        if until:
            settings |= {"samples": None, "until": until.model_dump(mode="json"), "judge": waves.settings(spec)}
        return settings

    def run(self, ctx: Context) -> Output:
        """Rows in the order of the prompts, then of the samples. StepError for a plan that cannot be followed."""
        own = ctx.spec.generate
        columns = (*COLUMNS, "reference", "difficulty", "meta") if own.until else COLUMNS
        prompts = ctx.read(TRAIN, columns).select(columns)
        plan = ctx.read(Ref("plan", own.plan), ["key", "item_id", "value"]).to_pylist() if own.plan else []
        budget = Budget.of(own, plan, prompts["prompt_id"].to_pylist(), self.name)
        backend = self.backend(ctx, budget.sampler)
        parts: dict[tuple[str, str], pa.Table] = {}
        if own.until:
            rows, parts, detail = self._until(ctx, backend, prompts, budget)
        else:
            rows, detail = self._fixed(ctx, backend, prompts, budget)
        self.note(ctx, backend)
        detail |= {"plan": budget.planned} if own.plan else {}
        made = {("generations", self.part): in_order(rows, prompts), **parts}
        return Output(made, prompts.num_rows, {**backend.detail, **detail})

    def _fixed(self, ctx: Context, backend: Backend, prompts: pa.Table, budget: Budget) -> tuple[pa.Table, dict[str, Any]]:
        counts = [budget.samples(prompt) for prompt in prompts["prompt_id"].to_pylist()]
        if set(counts) == {ctx.spec.generate.samples}:
            return self.answer(ctx, backend, backend.prepare(prompts)), {}
        asks = prompts.append_column("samples", pa.array(counts, pa.int64()))
        asks = asks.filter(pa.array([count > 0 for count in counts], pa.bool_()))
        return self.answer(ctx, backend, backend.prepare(asks)), {"prompts_not_asked": prompts.num_rows - asks.num_rows}

    def _until(
        self, ctx: Context, backend: Backend, prompts: pa.Table, budget: Budget
    ) -> tuple[pa.Table, dict[tuple[str, str], pa.Table], dict[str, Any]]:
        """(answers, the verdicts on them, counts)."""
        until = ctx.spec.generate.until
        assert until is not None
        targets = {prompt: budget.target(prompt) for prompt in prompts["prompt_id"].to_pylist()}
        most = pa.array([target.cap for target in targets.values()], pa.int64())
        ready = backend.prepare(prompts.select(COLUMNS).append_column("samples", most)).select(COLUMNS)
        tally = Tally({prompt: targets[prompt] for prompt in ready["prompt_id"].to_pylist()}, until.bar)
        with closing(waves.Waves(ctx, prompts, self.name)) as judged:

            def ask(asks: pa.Table, wave: int) -> pa.Table:
                return self.answer(ctx, backend, asks, ctx.journal / f"wave-{wave:04d}", f"{self.name}, wave {wave + 1}")

            def score(rows: pa.Table, wave: int) -> list[float | None]:
                return judged(rows, ctx.journal / f"judged-{wave:04d}")

            found, count = sample(ready, tally, until.wave, ask, score)
        detail = {"until": until.model_dump(mode="json"), "waves": count, **tally.detail()}
        if detail["prompts_short"]:
            text = f"{detail['prompts_short']} of {ready.num_rows} prompts used up their trials before they had enough"
            ctx.progress.note(f"{self.name}: {text} ({detail['deficit_right']} right, {detail['deficit_wrong']} wrong answers missing)")
        return pa.concat_tables(found), judged.rows(), detail


class EvalGenerations(Answering):
    """The round's checkpoint answers the held-out prompts of the base round."""

    name, part = "eval_generations", "eval"

    def setup(self, spec: Spec) -> Setup:
        """As `evaluate` says, else as `generate` does; a checkpoint cannot be measured by answers of others, so a backend
        without a model is used only where `evaluate` names it."""
        own = spec.evaluate
        if own.backend is None:
            backend, shared = own_model(spec)
            return Setup(backend, {**shared, **own.params}, "evaluate.params", own, own.samples, own.batch)
        return Setup(own.backend, own.params, "evaluate.params", own, own.samples, own.batch)

    def model_of(self, spec: Spec) -> Literal["policy", "checkpoint", "base"]:
        return "checkpoint"

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """The new checkpoint, where the backend needs one, and the held-out splits that the spec has."""
        return [*self.model_refs(spec), *_held_out(spec)]

    def run(self, ctx: Context) -> Output:
        """Rows in the order of the splits' prompts, then of the samples."""
        prompts = pa.concat_tables([ctx.read(ref, COLUMNS).select(COLUMNS) for ref in _held_out(ctx.spec)])
        backend = self.backend(ctx)
        rows = self.answer(ctx, backend, backend.prepare(prompts))
        self.note(ctx, backend)
        return Output({("generations", self.part): in_order(rows, prompts)}, prompts.num_rows, backend.detail)

    def active(self, spec: Spec, round_: int) -> bool:
        """In the base and in every round, where there are held-out prompts."""
        return round_ >= BASE and bool(_held_out(spec))


def _held_out(spec: Spec) -> list[Ref]:
    return [Ref("prompts", split, "base") for split in ("gate", "test") if getattr(spec.prompts, split) is not None]


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """The room's steps. `generations` is always listed; the graph leaves it out where nothing reads it."""
    found: list[Step] = [Generations(spec), EvalGenerations(spec)]
    if spec.calibrate:
        found.append(calibrate.CalibrateGenerations(spec))
    return [*found, *followup.steps(spec, spec_path)]


def check(spec: Spec, spec_path: Path) -> None:
    """Raises SpecError or DataError for a backend or settings of one that cannot work, before anything runs."""
    for step in steps(spec, spec_path):
        for round_ in range(spec.rounds) if spec.stages else range(1):
            if step.active(at(spec, round_), round_):
                step.settings(at(spec, round_), round_, spec_path)


def check_until(spec: Spec) -> None:
    """SpecError where waves cannot be judged, or give the same answer again and again."""
    own = spec.generate
    if own.until and not spec.score:
        raise SpecError("generate.until: nothing says which answers are right", hint="add a verifier to `score`")
    for scorer in spec.score if own.until else ():
        if scorer.measure:
            raise SpecError(
                f"generate.until: {scorer.column} is a measure, and only verifiers can judge while answers are made",
                hint="use generate.samples, or move it to `measure`",
            )
    if own.until and own.temperature == 0 and not own.plan and backends.load(own.backend).needs_model:
        raise SpecError("generate.until: at temperature 0 every trial gives the same answer", hint="set generate.temperature above 0")
