"""Whether a model finds an answer better than the prompt's gold answer, and how sure it is of that, in both orders.

Source: the auto-correction of CLEAR (Chen and Mueller, "Automated Data Curation for Robust Language Model Fine-Tuning", arXiv
2403.12776): the model says which of a training target and a candidate is better, in swapped positions too, and a candidate takes
the target's place only where it wins with a confidence above a threshold. Here the model replies with a letter, the candidate
wins where its letter is the most probable one in both orders, and the confidence is the mean of that letter's probabilities.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from engine.score import choices, forced
from engine.score.measures import Measure, measures
from engine.similarity import normalised
from engine.spec import Spec
from engine.step import Context, Ref


class DuelParams(choices.Asking):
    """Which answers are candidates."""

    candidates: Literal["first", "all"] = Field("first", description="first: the first answer of each prompt; all: every rollout")

    @model_validator(mode="after")
    def _fits(self) -> DuelParams:
        if wrong := choices.missing(self.questions, ("question", "first", "second")):
            raise ValueError(wrong)
        if len(self.questions) > 1:
            raise ValueError(f"questions: one is asked in both orders, found {len(self.questions)}")
        return self


@measures.register("beats_gold")
class BeatsGold(Measure):
    """Columns <name>: confidence that the answer is the better one, 0 to 1; <name>_wins: 1 where it wins in both orders, else 0.

    Null with a detail for what is no candidate, for a candidate that says the same as the gold answer, and where a question is
    too long for the model.
    """

    outputs = ("", "_wins")
    on_device = True
    Params = DuelParams

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return forced.Named(self.params.model).reads(spec, round_)

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return forced.settings(spec) | forced.Named(self.params.model).settings(spec, spec_path) | {"question": self._question()}

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        gold, candidates = choices.golds(ctx, self.params.gold), self._candidates(rows)
        prompts, texts, chats = rows["prompt_id"].to_pylist(), rows["response"].to_pylist(), rows["messages"].to_pylist()
        n = rows.num_rows
        values, wins = [None] * n, [None] * n  # type: list[float | None], list[float | None]
        detail: list[str | None] = [None if i in candidates else "no candidate" for i in range(n)]
        asked: list[int] = []
        questions: list[str] = []
        for i in sorted(candidates):
            target = gold[prompts[i]]
            if normalised(texts[i]) == normalised(target):
                detail[i] = "same text as the gold answer"
                continue
            asked.append(i)
            for first, second in ((target, texts[i]), (texts[i], target)):
                named = {"question": choices.asked(chats[i]), "first": first, "second": second}
                questions.append(choices.filled(self._question(), named))
        found = choices.replies(ctx, self.params, questions, "beats_gold")
        for place, i in enumerate(asked):
            behind, before = found[2 * place], found[2 * place + 1]
            if behind is None or before is None:
                detail[i] = "the question to the model is too long"
            else:
                values[i], wins[i] = duel(behind, before)
        columns = zip(self.outputs, (values, wins), strict=True)
        told = pa.array(detail, pa.string())
        return {s: pa.table({"item_id": rows["generation_id"], "value": pa.array(c, pa.float64()), "detail": told}) for s, c in columns}

    def _question(self) -> str:
        return (self.params.questions or choices.shipped("comparison"))[0]

    def _candidates(self, rows: pa.Table) -> set[int]:
        """Numbers of the rows that are judged."""
        if self.params.candidates == "all":
            return set(range(rows.num_rows))
        first: dict[str, tuple[int, str, int]] = {}
        for i, (prompt, sample, item) in enumerate(
            zip(*(rows[c].to_pylist() for c in ("prompt_id", "sample", "generation_id")), strict=True)
        ):
            first[prompt] = min(first.get(prompt, (sample, item, i)), (sample, item, i))
        return {i for _, _, i in first.values()}


def duel(behind: tuple[float, ...], before: tuple[float, ...]) -> tuple[float, float]:
    """(confidence, 1 or 0 for a win) of a candidate from the letters' probabilities where it stands second and where it stands
    first; an even most probable letter is no win."""
    second, first = behind[1], before[0]
    won = all(second > other for other in (behind[0], behind[2])) and all(first > other for other in before[1:])
    return round(math.fsum((second, first)) / 2, 12), float(won)
