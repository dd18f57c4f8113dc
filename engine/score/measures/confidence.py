"""How confident a model can be of an answer: agreement of its samples, and what it says of the answer itself (BSDetector).

Source: Chen and Mueller, "Quantifying Uncertainty in Answers from any Language Model and Enhancing their Trustworthiness", ACL
2024, arXiv 2308.16175; CLEAR (arXiv 2403.12776) drops training rows by this number of their gold answers. confidence = beta O +
(1 - beta) S. O: mean over the sampled answers of alpha s + (1 - alpha) [same answer]. S: mean over questions to the model of 1
(correct), 0 (incorrect) or 0.5 (not sure). Where this differs: s is 1 - contradiction by a model of natural language inference
there, Rouge-L here; replies are letters compared by their probability, not parsed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from engine.errors import StepError
from engine.ids import canonical
from engine.score import choices, forced
from engine.score.measures import Measure, measures
from engine.similarity import normalised, rouge_l, words
from engine.spec import Spec
from engine.step import Context, Ref

SCORE = Ref("scores", "rollout/score")
WORTH = (1.0, 0.0, 0.5)


class ConfidenceParams(choices.Asking):
    """What is judged, and how the parts are weighed."""

    of: Literal["gold", "answer"] = Field("gold", description="gold: the prompt's gold answer, one number a prompt; answer: each rollout")
    beta: float = Field(0.7, ge=0, le=1, description="weight of agreement; 1: the model is not asked")
    alpha: float = Field(0.8, ge=0, le=1, description="weight of similarity in agreement; the rest is the same answer")
    similarity: Literal["rouge_l", "exact"] = Field("rouge_l", description="rouge_l: F of Rouge-L; exact: 1 for the same answer, else 0")
    same: Literal["text", "score"] = Field(
        "text", description="same answer: equal but for case and punctuation; score: the verifiers say that a sample is right (of: gold)"
    )
    min_score: float = Field(1.0, description="score from which a sample is the same answer as the gold one")
    soft: bool = Field(False, description="weigh 1, 0 and 0.5 by the replies' probabilities instead of taking the most probable reply")

    @model_validator(mode="after")
    def _fits(self) -> ConfidenceParams:
        if self.same == "score" and self.of != "gold":
            raise ValueError("same: score compares with the gold answer; it needs of: gold")
        if wrong := choices.missing(self.questions, ("question", "answer")):
            raise ValueError(wrong)
        return self


@measures.register("confidence")
class Confidence(Measure):
    """Columns <name>, <name>_observed (O) and <name>_reflected (S); null with a detail where a part is missing."""

    outputs = ("", "_observed", "_reflected")
    on_device = True
    Params = ConfidenceParams

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        model = forced.Named(self.params.model).reads(spec, round_) if self.params.beta < 1 else []
        return [*model, *([SCORE] if self.params.same == "score" else [])]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return forced.settings(spec) | forced.Named(self.params.model).settings(spec, spec_path) | {"questions": list(self._questions())}

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        params: ConfidenceParams = self.params
        targets, place = self._targets(ctx, rows)
        observed = [round(found, 12) if found is not None else None for found in self._observed(ctx, rows, targets)]
        reflected = self._reflected(ctx, rows, targets) if params.beta < 1 else [None] * len(targets)
        values, told = [], []
        for o, s in zip(observed, reflected, strict=True):
            lost = [] if o is not None else ["no other answer to agree with"]
            lost += ["the question to the model is too long"] if s is None and params.beta < 1 else []
            values.append(None if lost else round(params.beta * o + (1 - params.beta) * (s or 0.0), 12))  # type: ignore[operator]
            told.append("; ".join(lost) or canonical({"observed": o, "reflected": s}))
        columns = zip(self.outputs, (values, observed, reflected), strict=True)
        detail = pa.array([told[i] for i in place], pa.string())
        return {
            suffix: pa.table(
                {"item_id": rows["generation_id"], "value": pa.array([column[i] for i in place], pa.float64()), "detail": detail}
            )
            for suffix, column in columns
        }

    def _questions(self) -> tuple[str, ...]:
        return self.params.questions or choices.shipped("reflection")

    def _targets(self, ctx: Context, rows: pa.Table) -> tuple[list[tuple[int, str]], list[int]]:
        """What is judged, as (a row of its prompt, text), and the number of each row's target."""
        if self.params.of == "answer":
            return list(enumerate(rows["response"].to_pylist())), list(range(rows.num_rows))
        gold, seen = choices.golds(ctx, self.params.gold), dict[str, int]()
        targets: list[tuple[int, str]] = []
        place: list[int] = []
        for i, prompt in enumerate(rows["prompt_id"].to_pylist()):
            if prompt not in seen:
                seen[prompt] = len(targets)
                targets.append((i, gold[prompt]))
            place.append(seen[prompt])
        return targets, place

    def _observed(self, ctx: Context, rows: pa.Table, targets: Sequence[tuple[int, str]]) -> list[float | None]:
        """O of each target; None where there is no answer to compare with."""
        params, prompts, texts = self.params, rows["prompt_id"].to_pylist(), rows["response"].to_pylist()
        siblings: dict[str, list[int]] = {}
        for i, prompt in enumerate(prompts):
            siblings.setdefault(prompt, []).append(i)
        right = self._right(ctx, rows) if params.same == "score" else None
        by_words = params.similarity == "rouge_l" and params.alpha > 0
        plain, given = [normalised(text) for text in texts], [words(text) for text in texts] if by_words else []
        found: list[float | None] = []
        for row, text in targets:
            others = [i for i in siblings[prompts[row]] if params.of == "gold" or i != row]
            own, spoken = normalised(text), words(text) if by_words else []
            same = [float(right[i] if right else plain[i] == own) for i in others]
            near = [rouge_l(spoken, given[i]) for i in others] if by_words else same
            parts = [params.alpha * s + (1 - params.alpha) * e for s, e in zip(near, same, strict=True)]
            found.append(math.fsum(parts) / len(parts) if parts else None)
        return found

    def _right(self, ctx: Context, rows: pa.Table) -> list[bool]:
        """Whether the verifiers find each row right. StepError where a row has no verdict at all."""
        table, items = ctx.read(SCORE, ["item_id", "value"]), rows["generation_id"].to_pylist()
        value = dict(zip(table["item_id"].to_pylist(), table["value"].to_pylist(), strict=True))
        lost = [item for item in items if item not in value]
        if lost:
            raise StepError(
                f"confidence: same: score, and {len(lost)} of {len(items)} rollouts have no score, such as {lost[0]}",
                hint="name a verifier in `score`, or set params.same: text",
            )
        known = [value[item] for item in items]
        return [number is not None and number >= self.params.min_score for number in known]

    def _reflected(self, ctx: Context, rows: pa.Table, targets: Sequence[tuple[int, str]]) -> list[float | None]:
        """S of each target: the mean over the questions; None where one is too long."""
        chats, templates = rows["messages"].to_pylist(), self._questions()
        texts = [choices.filled(q, {"question": choices.asked(chats[i]), "answer": text}) for i, text in targets for q in templates]
        worth = [None if p is None else self._worth(p) for p in choices.replies(ctx, self.params, texts, "confidence: reflection")]
        own = [worth[i : i + len(templates)] for i in range(0, len(worth), len(templates))]
        return [None if None in one else round(math.fsum(one) / len(one), 12) for one in own]  # type: ignore[arg-type]

    def _worth(self, shares: tuple[float, ...]) -> float:
        if self.params.soft:
            return math.fsum(p * w for p, w in zip(shares, WORTH, strict=True))
        return WORTH[max(range(len(shares)), key=lambda i: (shares[i], -i))]
