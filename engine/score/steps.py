"""The steps that fill the scores and preferences tables: one for each scorer, measure and judge, and one for the combined score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.score import make, version
from engine.score.combine import score_rows, sources
from engine.score.expression import ITEM, Expression
from engine.score.rows import of_verdicts
from engine.score.verify import COLUMNS, answers_of, scored_once
from engine.spec import Scorer, Spec
from engine.step import BASE, Context, Output, Ref, Step

TRAIN = (Ref("prompts", "train"),)
HELD_OUT = (Ref("prompts", "gate", "base"), Ref("prompts", "test", "base"))


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """A step for each scorer and one for the combined score, of every part of generations; then measures and comparisons."""
    from engine.score.compared import Compared
    from engine.score.measured import Measured
    from engine.score.measured_by_sql import MeasuredBySql

    found: list[Step] = []
    for part in ("rollout", "eval", *(["calibrate"] if spec.calibrate else []), *(f"followup/{one.name}" for one in spec.followup)):
        found += [Score(part, scorer.column) if scorer.verifier else Measured(scorer, part) for scorer in spec.score]
        found += [Combine(part)] if spec.score else []
    for index, measure in enumerate(spec.measure):
        found.append(Measured(measure) if measure.method else MeasuredBySql(measure, spec.measure[:index], spec_path))
    return found + [Compared(compare, spec_path) for compare in spec.compare]


def step_name(part: str, name: str) -> str:
    """`name` for rollouts; for other parts of generations with the part in front."""
    return name if part == "rollout" else f"{part.removeprefix('followup/')}_{name}"


def prompts_of(part: str) -> tuple[Ref, ...]:
    """The parts of prompts that a part of generations answers."""
    return HELD_OUT if part == "eval" else TRAIN


def is_active(part: str, round_: int) -> bool:
    """Whether a round has this part of generations: the base has only held-out answers."""
    return part == "eval" or round_ != BASE


class Score(Step):
    """One verifier over every answer; answers that agree in what it sees are scored once, here or in an earlier step."""

    table = "scores"

    def __init__(self, part: str, column: str) -> None:
        self.of, self.column = part, column
        self.part, self.name = f"{part}/{column}", step_name(part, f"scores_{column}")

    def _scorer(self, spec: Spec) -> Scorer:
        return next(scorer for scorer in spec.score if scorer.column == self.column)

    def active(self, spec: Spec, round_: int) -> bool:
        return is_active(self.of, round_)

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return [Ref("generations", self.of), *prompts_of(self.of)]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        scorer = self._scorer(spec)
        return {"scorer": self.column, "version": version(scorer, make(scorer))}

    def run(self, ctx: Context) -> Output:
        scorer = self._scorer(ctx.spec)
        verifier, own = make(scorer), version(scorer, make(scorer))
        generations, *prompts = self.reads(ctx.spec, ctx.round)
        answers = answers_of(
            ctx.read(generations, ["generation_id", "content_id", "prompt_id", "response"]),
            [ctx.read(ref, COLUMNS) for ref in prompts],
            verifier,
            self.name,
        )
        try:
            made, cached = scored_once(ctx, verifier, own, answers, ctx.journal, self.name)
        finally:
            verifier.close()
        rows = of_verdicts(answers, made, self.column, own, self.name)
        return Output({("scores", self.part): rows}, answers.height, {"scored_once": made.height, "cached": cached})


class Combine(Step):
    """The combined score of every answer, filed as scorer `score`."""

    table = "scores"

    def __init__(self, part: str) -> None:
        self.of, self.part, self.name = part, f"{part}/score", step_name(part, "score")

    def active(self, spec: Spec, round_: int) -> bool:
        return bool(spec.score) and is_active(self.of, round_)

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """Each scorer's numbers; the answers and their prompts where the expression names one of their columns."""
        expression = Expression.of(spec, self.of)
        found = [Ref("scores", f"{self.of}/{column}") for column in expression.scorers]
        found += [Ref("generations", self.of)] if expression.of_generations else []
        return found + (list(prompts_of(self.of)) if expression.of_prompts else [])

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        expression = Expression.of(spec, self.of)
        return expression.settings() | {"scorers": list(expression.scorers)}

    def run(self, ctx: Context) -> Output:
        """StepError where a scorer has not scored an answer, or the expression cannot be computed."""
        expression = Expression.of(ctx.spec, self.of)
        own = ["item_id", "prompt_id", "value", "verdict", "detail"]
        scores = {name: ctx.read(Ref("scores", f"{self.of}/{name}"), own) for name in expression.scorers}
        answers = ctx.read(Ref("generations", self.of), [ITEM, *sources(expression)]) if expression.of_generations else None
        asked = [ctx.read(ref, ["prompt_id", *expression.of_prompts]) for ref in prompts_of(self.of)] if expression.of_prompts else []
        rows = score_rows(expression, scores, answers, asked, self.name)
        return Output({("scores", self.part): rows}, rows.num_rows, {"without_score": rows["value"].null_count})
