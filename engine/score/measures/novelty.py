"""How new an answer is: 1 - its largest similarity to what earlier rounds answered, or to what they trained on.

An exact search of every pair, so the work grows with the product: 4,000 answers of 100 words against 4,000 earlier ones take 0.4
seconds of CPU time by 3-grams, 0.2 by vectors of 256 numbers beside the embedder's time (benchmarks/likeness.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from engine.ids import canonical
from engine.score.likeness.embedded import Embedding
from engine.score.likeness.nearest import Nearest, by_cosine, by_ngrams
from engine.score.likeness.vectors import unit
from engine.score.measures import Measure, measures
from engine.spec import Spec
from engine.step import Context, Ref

KIND = pa.schema([("item_id", pa.string()), ("prompt_id", pa.string()), ("text", pa.string()), ("round", pa.int32())])


class NoveltyParams(Embedding):
    """New against what, and what similarity is."""

    space: None = Field(None, description="vectors are made by `embedder`, since earlier rounds' and trained texts need them too")
    against: Literal["rollouts", "selected"] = Field(
        "rollouts", description="rollouts: all answers of earlier rounds; selected: the answers that trained in them, whoever wrote them"
    )
    scope: Literal["prompt", "all"] = Field("all", description="prompt: only answers to the same prompt; all: to any")
    rounds: int | None = Field(None, gt=0, description="at most that many rounds back; none: all")
    similarity: Literal["ngrams", "embedding"] = Field("ngrams", description="Jaccard similarity of word n-grams, or cosine of vectors")
    n: int = Field(3, gt=0, description="words of an n-gram")


@measures.register("novelty")
class Novelty(Measure):
    """Column <name>: 1 - similarity to the nearest earlier answer; 1 where there is none to compare with. detail: JSON with that answer's
    id and round, or why there is none."""

    Params = NoveltyParams

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.on_device = params.similarity == "embedding" and params.on_device

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        past = Ref("generations", "rollout", "history") if self.params.against == "rollouts" else Ref("selected", None, "history")
        return [past, *(self.params.reads() if self.params.similarity == "embedding" else [])]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return self.params.settings(spec_path) if self.params.similarity == "embedding" else {}

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        past = self._past(ctx)
        found = self._nearest(ctx, rows, past)
        ids, rounds = past["item_id"].to_pylist(), past["round"].to_pylist()
        detail = [
            canonical({"nearest": ids[place], "round": rounds[place]}) if place >= 0 else "nothing to compare with" for place in found.place
        ]
        values = pa.array(np.round(1.0 - found.similarity, 12), pa.float64())
        return {"": pa.table({"item_id": rows["generation_id"], "value": values, "detail": pa.array(detail, pa.string())})}

    def _past(self, ctx: Context) -> pa.Table:
        """Earlier answers, each text of a prompt once: item_id, prompt_id, text, round; the earliest rounds first."""
        if self.params.against == "rollouts":
            rows = ctx.read(Ref("generations", "rollout", "history"), ["generation_id", "prompt_id", "response", "round"])
            found = rows.select(["generation_id", "prompt_id", "response", "round"]).rename_columns(KIND.names)
        else:
            rows = ctx.read(Ref("selected", None, "history"), ["row_id", "prompt_id", "messages", "round"])
            texts = [messages[-1]["content"] for messages in rows["messages"].to_pylist()]
            columns = [rows["row_id"], rows["prompt_id"], pa.array(texts, pa.string()), rows["round"]]
            found = pa.table(columns, names=KIND.names)
        found = found.cast(KIND)
        if self.params.rounds is not None:
            found = found.filter(pc.greater_equal(found["round"], ctx.round - self.params.rounds))
        found = found.sort_by([("round", "ascending"), ("item_id", "ascending")])
        first: dict[tuple[str, str], int] = {}
        for i, key in enumerate(zip(found["prompt_id"].to_pylist(), found["text"].to_pylist(), strict=True)):
            first.setdefault(key, i)
        return found.take(pa.array(list(first.values()), pa.int64()))

    def _nearest(self, ctx: Context, rows: pa.Table, past: pa.Table) -> Nearest:
        texts, others = rows["response"].to_pylist(), past["text"].to_pylist()
        if not others:
            return Nearest(np.zeros(len(texts)), np.full(len(texts), -1))
        groups = [np.zeros(len(texts), np.int64), np.zeros(len(others), np.int64)]
        if self.params.scope == "prompt":
            numbers = {prompt: i for i, prompt in enumerate(sorted({*rows["prompt_id"].to_pylist(), *past["prompt_id"].to_pylist()}))}
            groups = [np.array([numbers[prompt] for prompt in table["prompt_id"].to_pylist()], np.int64) for table in (rows, past)]
        if self.params.similarity == "ngrams":
            return by_ngrams(texts, others, self.params.n, *groups)
        made = unit(self.params.of_texts(ctx, [*texts, *others], "novelty"))
        return by_cosine(made[: len(texts)], made[len(texts) :], *groups)
