"""A judge's number for an answer: a model, on a server or on this machine, is asked how good it is.

Source: Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena" (arXiv 2306.05685); votes and their aggregation as in
generative reward modelling (Zhang et al., "Generative Verifiers", arXiv 2408.15240, who take the mean; median and majority are
options). Criteria one at a time, with the mean of those that could be read, as in the rating of TULU 3 (arXiv 2411.15124).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.score import UNPARSEABLE, choices
from engine.score.judge import JudgeParams, Voting
from engine.score.judge.judgement import Case, Judgement, judged, reads, settings, versions
from engine.score.measured import keys_of
from engine.score.measures import Measure, measures
from engine.spec import Spec
from engine.step import Context, Ref


class Judged(Measure):
    """Column <name>: the number, in the unit of the prompt file (its `range` or `values`); with `criteria` in the spec also
    <name>_<criterion> for each of them.

    Where no vote could be read the value is null with the verdict `unparseable`; where the judge could not be asked, `timeout` or
    `error`. `detail` is JSON with votes, texts and a rationale.
    """

    per_answer = True
    Params = Voting

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.on_device = params.where[0] is None
        self.outputs = ("", *(f"_{name}" for name in params.criteria))
        if params.where[0] is not None:
            params.where[0].check("score: params.server")

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return reads(self.params, spec, round_)

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return settings(self.params, spec, spec_path, compares=False)

    def versions(self, ctx: Context) -> list[str]:
        return versions(self.params, ctx)

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        columns = [rows[name].to_pylist() for name in ("messages", "response", "reference", "meta", "prompt_id")]
        cases = [
            Case(key, {"question": choices.asked(chat), "answer": text, "reference": reference}, meta, prompt)
            for key, chat, text, reference, meta, prompt in zip(keys_of(rows), *columns, strict=True)
        ]
        found, self.detail = judged(ctx, self.params, cases, compares=False, label=type(self).__name__.lower())
        return {suffix: _table(rows["generation_id"], found, suffix) for suffix in self.outputs}


def _table(items: pa.ChunkedArray, found: list[Judgement], suffix: str) -> pa.Table:
    values = [one.by_criterion[suffix[1:]] if suffix else one.value for one in found]
    verdicts = [None if value is not None else one.verdict or UNPARSEABLE for one, value in zip(found, values, strict=True)]
    columns: dict[str, Any] = {"item_id": items, "value": pa.array(values, pa.float64()), "verdict": pa.array(verdicts, pa.string())}
    if not suffix:
        columns["detail"] = pa.array([one.detail for one in found], pa.string())
        columns["seconds"] = pa.array([one.seconds for one in found], pa.float64())
        columns["prompt_tokens"] = pa.array([one.prompt_tokens for one in found], pa.int64())
        columns["response_tokens"] = pa.array([one.response_tokens for one in found], pa.int64())
    return pa.table(columns)


@measures.register("judge")
class Judge(Judged):
    """A judge of the spec's choice: `server` or `model`."""

    Params = JudgeParams
