"""The steps of the generate room: `generations` (the policy answers the round's prompts), `eval_generations` (the new
checkpoint answers the held-out prompts), and where the spec has them a calibration before and follow-ups after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import StepError
from engine.generate import POLICY, backends, calibrate, followup
from engine.generate.answering import Answering, in_order, own_model
from engine.generate.budget import Budget
from engine.generate.cast import Setup, cast, drawn
from engine.generate.ceiling import Ceiling
from engine.generate.rollout import Answered, Rollout
from engine.score import finals, waves
from engine.spec import Generate, Spec
from engine.specfile import at
from engine.step import BASE, Context, Output, Ref, Step

TRAIN = Ref("prompts", "train")


class Generations(Answering):
    """The round's actors answer the round's prompts: `samples` times each; the policy as often as a plan says, or until enough
    are right or all agree. Together they draw no more response tokens than `ceiling`."""

    name, part = "generations", "rollout"

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.judged = [scorer.column for scorer in spec.score] if waves.judged(spec) else []

    def writes(self) -> list[tuple[str, str]]:
        """The answers, and where they are judged in waves the verdicts, which the score steps take over."""
        return [*super().writes(), *(("scores", f"until/{column}") for column in self.judged)]

    def setups(self, spec: Spec) -> list[Setup]:
        return cast(spec)

    def draws(self, spec: Spec) -> bool:
        return super().draws(spec) or spec.generate.plan is not None  # the plan may say another temperature

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """The models that answer, the round's training prompts, and the plan that the policy follows."""
        return [*self.model_refs(spec), TRAIN, *([Ref("plan", spec.generate.plan)] if spec.generate.plan else [])]

    def columns(self, spec: Spec) -> tuple[str, ...]:
        judged = ("reference", "difficulty", "meta") if spec.generate.until else ()
        return tuple(dict.fromkeys((*super().columns(spec), *judged)))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        settings, until = super().settings(spec, round_, spec_path), spec.generate.until
        if until:
            settings |= {"until": until.model_dump(mode="json")}
            settings |= {"judge": waves.settings(spec)} if self.judged else {}
            settings |= {"finals": finals.settings(spec)} if until.agree else {}
            if "actors" not in settings:
                settings["samples"] = None
        return settings | ({"ceiling": spec.generate.ceiling} if spec.generate.ceiling else {})

    def run(self, ctx: Context) -> Output:
        """Rows in the order of the prompts, then of the actors, then of the samples. StepError for a plan that cannot be followed."""
        columns, setups = self.columns(ctx.spec), self.setups(ctx.spec)
        prompts = ctx.read(TRAIN, columns).select(columns)
        ceiling, made = Ceiling(ctx.spec.generate.ceiling), dict[str, Answered]()
        # those who look their answers up go first: what they lack is known before anybody is paid
        for how in sorted(setups, key=lambda how: backends.load(how.backend).uses_sampler):
            made[how.actor] = self._actor(ctx, how, prompts, ceiling)
        found, parts, detail = [], dict[tuple[str, str], pa.Table](), dict[str, Any]()
        for how in setups:
            rows, judged, told = made[how.actor]
            found.append(rows)
            parts |= judged
            detail |= {"actors": detail.get("actors", {}) | {how.actor: told}} if len(setups) > 1 else told
        actors = [name for rows in found for name in sorted(rows["actor"].unique().to_pylist())]  # files may name theirs
        rows = in_order(pa.concat_tables(found), prompts, actors)
        if not rows.num_rows:
            text = f"{self.name}: no answer fits under generate.ceiling, {ceiling.most} response tokens"
            raise StepError(text, where="generate.ceiling", hint="raise it, or lower generate.max_tokens")
        if ceiling.left_out:
            text = f"the ceiling of {ceiling.most} response tokens is reached at {ceiling.spent}"
            ctx.progress.note(f"{self.name}: {text}: {ceiling.left_out} answers are not asked")
        return Output({("generations", self.part): rows, **parts}, prompts.num_rows, detail | ceiling.detail())

    def _actor(self, ctx: Context, how: Setup, prompts: pa.Table, ceiling: Ceiling) -> Answered:
        own, budget = ctx.spec.generate, None
        if how.actor == POLICY:
            plan = ctx.read(Ref("plan", own.plan), ["key", "item_id", "value"]).to_pylist() if own.plan else []
            assert isinstance(how.sampler, Generate)
            budget = Budget.of(how.sampler, plan, prompts["prompt_id"].to_pylist(), self.name, judged=bool(self.judged))
            how = how._replace(sampler=budget.sampler)
        asked = drawn(prompts["prompt_id"].to_pylist(), how, ctx.spec.seed, ctx.round, self.name)
        prompts = prompts.filter(pc.is_in(prompts["prompt_id"], value_set=pa.array(asked, pa.string())))
        journal = ctx.journal / how.actor if own.actors else ctx.journal
        label = f"{self.name}, {how.actor}" if own.actors else self.name
        with self.backend(ctx, how) as backend:
            made = Rollout(ctx, self, how, backend, prompts, budget, self.judged, ceiling, journal, label).run()
            self.note(ctx, backend)
        return made


class EvalGenerations(Answering):
    """The round's checkpoint answers the held-out prompts of the base round."""

    name, part = "eval_generations", "eval"

    def setups(self, spec: Spec) -> list[Setup]:
        """As `evaluate` says, else as `generate` does; a checkpoint cannot be measured by answers of others, so a backend
        without a model is used only where `evaluate` names it."""
        own = spec.evaluate
        if own.backend is None:
            backend, shared = own_model(spec)
            return [Setup(backend, {**shared, **own.params}, "evaluate.params", own, own.samples, own.batch, "checkpoint")]
        return [Setup(own.backend, own.params, "evaluate.params", own, own.samples, own.batch, "checkpoint")]

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """The new checkpoint, where the backend needs one, and the held-out splits that the spec has."""
        return [*self.model_refs(spec), *_held_out(spec)]

    def run(self, ctx: Context) -> Output:
        """Rows in the order of the splits' prompts, then of the samples."""
        columns, (how,) = self.columns(ctx.spec), self.setups(ctx.spec)
        prompts = pa.concat_tables([ctx.read(ref, columns).select(columns) for ref in _held_out(ctx.spec)])
        with self.backend(ctx, how) as backend:
            rows = self.answer(ctx, how, backend, backend.prepare(prompts))
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
