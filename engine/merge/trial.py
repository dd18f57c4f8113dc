"""What a candidate of a greedy soup is worth: its greedy answers to the gate split, scored as the experiment scores."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from engine.errors import SpecError
from engine.generate import backends
from engine.generate.answering import own_model
from engine.generate.cast import Setup
from engine.generate.steps import EvalGenerations
from engine.ids import digest
from engine.merge import Job, stream
from engine.merge.methods.soup import Soup
from engine.score import waves
from engine.score.verify import COLUMNS
from engine.spec import Spec
from engine.step import Ref

if TYPE_CHECKING:
    from collections.abc import Sequence

GATE = Ref("prompts", "gate", "base")


def refs() -> list[Ref]:
    """The parts that a trial reads."""
    return [GATE]


def setup(spec: Spec) -> Setup:
    """How candidates answer: as the checkpoint will (`evaluate`), but greedily and once."""
    backend, params = own_model(spec)
    own = spec.evaluate
    if own.backend and backends.load(own.backend).needs_model:
        backend, params = own.backend, own.params
    sampler = own.model_copy(update={"temperature": 0.0, "samples": 1})
    return Setup(backend, params, "evaluate.params", sampler, 1, own.batch, "checkpoint")


def settings(spec: Spec, spec_path: Path) -> dict[str, Any]:
    """JSON for the fingerprint."""
    return {"answers": EvalGenerations(spec).actor_settings(setup(spec), spec, spec_path), "judge": waves.settings(spec, "eval")}


def check(spec: Spec) -> None:
    """SpecError where candidates cannot be compared."""
    if spec.prompts.gate is None:
        raise SpecError("prompts.gate: a greedy soup compares its candidates on the gate split, and there is none")
    if not spec.score:
        raise SpecError("score: a greedy soup compares its candidates by the experiment's scorers, and there is none")
    for scorer in spec.score:
        if scorer.measure:
            text = f"score: {scorer.column} is a measure, and only verifiers can judge the candidates of a greedy soup"
            raise SpecError(text, hint="move it to `measure`, or merge with `soup`")


class Trial:
    """Scores candidates, each the mean of some members. What was answered and judged before a kill is taken from the journal."""

    def __init__(self, job: Job) -> None:
        self.job, self.step = job, EvalGenerations(job.ctx.spec)
        self.prompts = job.ctx.read(GATE, list(dict.fromkeys([*self.step.columns(job.ctx.spec), *COLUMNS])))
        self.judge = waves.Waves(job.ctx, self.prompts, f"{job.label}, candidates", "eval")

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.judge.close()

    def score(self, of: Sequence[str]) -> float:
        """The mean score of the candidate's answers; an answer without a score counts as 0."""
        ctx = self.job.ctx
        name = digest("candidate", [self.job.members[one].digest for one in of])
        folder, journal = ctx.journal / "candidate", ctx.journal / f"trial-{name}"
        if len(of) > 1:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            stream.merge(self.job, Soup().tensor, of, (1.0,) * len(of), folder)
        else:
            folder = self.job.members[of[0]].path
        how = setup(ctx.spec)._replace(model=str(folder.absolute()))
        with self.step.backend(ctx, how) as backend:
            rows = self.step.answer(ctx, how, backend, backend.prepare(self.prompts), journal, f"{self.job.label}, {' + '.join(of)}")
        scores = self.judge(rows, journal / "scores")
        mean = math.fsum(score or 0.0 for score in scores) / len(scores)
        ctx.progress.note(f"{self.job.label}: {' + '.join(of)} scores {mean:.4f}")
        return mean
