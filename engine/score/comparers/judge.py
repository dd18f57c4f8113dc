"""A judge that says which of two answers is better: a model, on a server or on this machine.

Source: Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena" (arXiv 2306.05685): both orders are asked, and where
they disagree the pair is a tie (`engine.score.compared`). With principles: Sun et al., "SALMON" (arXiv 2310.05910), whose
aggregation is the macro `salmon_score` and the measure sql/measures/salmon.sql over the margins in `detail`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from engine.score import choices
from engine.score.comparers import Comparer, comparers
from engine.score.judge import JudgeParams
from engine.score.judge.judgement import Case, judged, reads, settings, versions
from engine.spec import Spec
from engine.step import Context, Ref


class DuelParams(JudgeParams):
    """Who judges, and what is asked."""

    prompt: str = Field("pairwise", description="a shipped prompt (engine/score/judge/prompts) or a YAML file beside the spec")


@comparers.register("judge")
class Judge(Comparer):
    """probability: mean over votes that the first answer is better (1, 0, or 0.5 for a tie), and over criteria where there are some."""

    Params = DuelParams

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.on_device = params.where[0] is None
        if params.where[0] is not None:
            params.where[0].check("compare: params.server")

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return reads(self.params, spec, round_)

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return settings(self.params, spec, spec_path, compares=True)

    def versions(self, ctx: Context) -> list[str]:
        return versions(self.params, ctx)

    def compare(self, ctx: Context, questions: pa.Table) -> pa.Table:
        columns = [questions[name].to_pylist() for name in ("key", "messages", "first", "second", "reference", "meta")]
        cases = [
            Case(key, {"question": choices.asked(chat), "first": first, "second": second, "reference": reference}, meta, key)
            for key, chat, first, second, reference, meta in zip(*columns, strict=True)
        ]
        found, self.detail = judged(ctx, self.params, cases, compares=True, label="judge")
        made: dict[str, Any] = {"key": questions["key"], "probability": pa.array([one.value for one in found], pa.float64())}
        for name, kind in (("votes", pa.int64()), ("verdict", pa.string()), ("detail", pa.string()), ("seconds", pa.float64())):
            made[name] = pa.array([getattr(one, name) for one in found], kind)
        for name in ("prompt_tokens", "response_tokens"):
            made[name] = pa.array([getattr(one, name) for one in found], pa.int64())
        return pa.table(made)
