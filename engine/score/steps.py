"""The steps that fill the scores table: one for each scorer and one for the combined score, of rollouts and of held-out answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine import tables
from engine.errors import StepError
from engine.ids import digest
from engine.score import make, version
from engine.score.combine import ITEM, combined, first_not_right, wide
from engine.score.judge import expression
from engine.score.verify import RESULT, answers_of, frame, verdicts
from engine.spec import Scorer, Spec
from engine.step import BASE, Context, Output, Ref, Step

if TYPE_CHECKING:
    import polars as pl

TRAIN = (Ref("prompts", "train"),)
HELD_OUT = (Ref("prompts", "gate", "base"), Ref("prompts", "test", "base"))


def steps(spec: Spec, spec_path: Path | None = None) -> list[Step]:
    """A step for each verifier and one for the combined score, of every part of generations; one for each measure."""
    from engine.score.measured import Measured

    found: list[Step] = []
    for part in ("rollout", "eval", *(["calibrate"] if spec.calibrate else []), *(f"followup/{one.name}" for one in spec.followup)):
        found += [Score(part, scorer.column) for scorer in spec.score]
        found += [Combine(part)] if spec.score else []
    return found + [Measured(measure) for measure in spec.measure]


def step_name(part: str, name: str) -> str:
    """`name` for rollouts; for other parts of generations with the part in front."""
    return name if part == "rollout" else f"{part.removeprefix('followup/')}_{name}"


class _Part(Step):
    """What both kinds of steps share: the generations part that they score."""

    table = "scores"

    def __init__(self, part: str, column: str) -> None:
        self.of, self.column = part, column
        self.part = f"{part}/{column}"

    def active(self, spec: Spec, round_: int) -> bool:
        return bool(spec.score) and (self.of == "eval" or round_ != BASE)


class Score(_Part):
    """One scorer over every answer; answers that agree in what the scorer sees are scored once."""

    def __init__(self, part: str, column: str) -> None:
        super().__init__(part, column)
        self.name = step_name(part, f"scores_{column}")

    def _scorer(self, spec: Spec) -> Scorer:
        return next(scorer for scorer in spec.score if scorer.column == self.column)

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return [Ref("generations", self.of), *(HELD_OUT if self.of == "eval" else TRAIN)]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        scorer = self._scorer(spec)
        return {"scorer": self.column, "version": version(scorer, make(scorer))}

    def run(self, ctx: Context) -> Output:
        scorer = self._scorer(ctx.spec)
        verifier = make(scorer)
        generations, *prompts = self.reads(ctx.spec, ctx.round)
        answers = answers_of(
            ctx.read(generations, ["generation_id", "content_id", "prompt_id", "response"]),
            [ctx.read(ref, ["prompt_id", "reference", "messages"]) for ref in prompts],
            verifier,
            self.name,
        )
        unique = answers.unique("key", maintain_order=True).select("key", "response", "reference", "prompt")
        try:
            made = verdicts(verifier, unique.to_arrow(), ctx.journal, ctx.progress, self.name)
        finally:
            verifier.close()
        rows = _scores(answers, made, self.column, version(scorer, verifier))
        if rows.num_rows != answers.height:
            raise StepError(f"{self.name}: {answers.height} generations in, {rows.num_rows} scores out")
        return Output({("scores", self.part): rows}, answers.height, {"scored_once": unique.height})


def _scores(answers: pl.DataFrame, made: pa.Table, column: str, scorer_version: str) -> pa.Table:
    import polars as pl

    items = answers.select("item_id", "prompt_id", "key")
    found = items.join(frame(made, RESULT.names), on="key", how="inner", maintain_order="left")
    rows = found.select(
        "item_id",
        "prompt_id",
        "value",
        "verdict",
        "detail",
        item_kind=pl.lit("generation"),
        scorer=pl.lit(column),
        scorer_version=pl.lit(scorer_version),
        seconds=pl.col("seconds") / pl.len().over("key"),  # what was scored once is paid for once
    )
    return tables.check("scores", rows.to_arrow())


class Combine(_Part):
    """The combined score of every answer, filed as scorer `score`."""

    def __init__(self, part: str) -> None:
        super().__init__(part, "score")
        self.name = step_name(part, "score")

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return [Ref("scores", f"{self.of}/{scorer.column}") for scorer in spec.score]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return {"combine": expression(spec), "scorers": [scorer.column for scorer in spec.score]}

    def run(self, ctx: Context) -> Output:
        import polars as pl

        names, combine = [scorer.column for scorer in ctx.spec.score], expression(ctx.spec)
        columns = ["item_id", "prompt_id", "value", "verdict", "detail"]
        scores = {name: ctx.read(ref, columns) for name, ref in zip(names, self.reads(ctx.spec, ctx.round), strict=True)}
        table = wide(scores, self.name)
        values = frame(combined(combine, table.select(ITEM, *names).to_arrow()), [ITEM, "value"])
        if values.height != table.height:
            raise StepError(f"{self.name}: {table.height} generations in, {values.height} values out")
        found = table.join(values, on=ITEM, how="left", maintain_order="left", validate="1:1")
        verdict, detail = first_not_right(names)
        rows = found.select(
            pl.col(ITEM).alias("item_id"),
            "prompt_id",
            "value",
            verdict.alias("verdict"),
            detail.alias("detail"),
            item_kind=pl.lit("generation"),
            scorer=pl.lit("score"),
            scorer_version=pl.lit(digest("score", combine, names)),
        )
        return Output({("scores", self.part): tables.check("scores", rows.to_arrow())}, table.height)
