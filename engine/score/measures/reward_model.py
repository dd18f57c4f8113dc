"""Reward models: the number that a sequence classifier's head gives a prompt with its answer, for one head or several.

One head is the scalar reward of RAFT (arXiv 2304.06767) or of Qwen2.5-Math (arXiv 2409.12122); several are the directions of DPA
(arXiv 2402.18571), each on a scale of its own: there the heads of HelpSteer enter as (number - 10) / 20, which is scale 0.05 and
offset -0.5. A validation reward model (SuperHF, arXiv 2310.16763) is a second entry under another name. One that learned to follow
principles (SALMON, arXiv 2310.05910) is asked under them with `around`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from engine.score import forced, heads
from engine.score.measures import Measure, measures
from engine.spec import Slug, Spec
from engine.step import Context, Ref


class Scaled(heads.Shown):
    """Which reward model, and what becomes of its numbers."""

    model: str = Field(..., description="a role that trains one, or a folder with a reward model, relative to the spec")
    heads: tuple[Slug, ...] = Field((), description="names of the head's outputs in order, each a column <name>_<head>; none: it has one")
    main: Slug | None = Field(None, description="the head that is column <name>; none: the mean of all")
    scale: tuple[float, ...] = Field(
        (1.0,), min_length=1, description="number = scale * output + offset; one for all heads, or each its own"
    )
    offset: tuple[float, ...] = Field((0.0,), min_length=1, description="see `scale`")
    sigmoid: bool = Field(False, description="the logistic function of it, between 0 and 1")
    around: str | None = Field(None, description="a text with {prompt} that the prompt's last message is put into: principles above it")

    @field_validator("around")
    @classmethod
    def _prompts(cls, text: str | None) -> str | None:
        return heads.lacking(text, ("prompt",))

    @model_validator(mode="after")
    def _fits(self) -> Scaled:
        width = max(1, len(self.heads))
        if len(set(self.heads)) < len(self.heads):
            raise ValueError(f"heads: a name stands twice in {list(self.heads)}")
        if self.main is not None and self.main not in self.heads:
            raise ValueError(f"main: expected one of the heads {list(self.heads)}, found {self.main!r}")
        for name, given in (("scale", self.scale), ("offset", self.offset)):
            if len(given) not in (1, width):
                raise ValueError(f"{name}: expected 1 or {width} numbers, found {len(given)}")
        return self

    def scaled(self, outputs: Sequence[float]) -> list[float]:
        """The number of each head."""
        scales, offsets = (given * len(outputs) if len(given) == 1 else given for given in (self.scale, self.offset))
        numbers = [scale * value + offset for value, scale, offset in zip(outputs, scales, offsets, strict=True)]
        return [round(logistic(number) if self.sigmoid else number, 12) + 0.0 for number in numbers]

    def asked(self, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The prompt as the model sees it."""
        if self.around is None:
            return list(messages)
        *before, last = messages
        return [*before, last | {"content": self.around.replace("{prompt}", last["content"])}]

    def total(self, numbers: Sequence[float]) -> float:
        """The number of column <name>."""
        if self.main is not None:
            return numbers[self.heads.index(self.main)]
        return round(math.fsum(numbers) / len(numbers), 12) + 0.0


def logistic(x: float) -> float:
    """1 / (1 + exp(-x)) without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


class ByHead(Measure):
    """A measure whose numbers one model's head gives; its settings have `model` and those of `heads.Shown`."""

    on_device = True
    per_answer = True

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """The checkpoint that reads, where it is one of the experiment."""
        return forced.Named(self.params.model).reads(spec, round_)

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """The folder's digest. SpecError where its head has another number of outputs."""
        return heads.settings(spec, self.params.model, spec_path, (self.width,), type(self).__name__, self.params)

    def versions(self, ctx: Context) -> list[str]:
        """The digest of the model that reads."""
        return [forced.Named(self.params.model).model(ctx).digest]

    @property
    def width(self) -> int:
        """How many outputs its head must have."""
        return 1


@measures.register("reward_model")
class RewardModel(ByHead):
    """Column <name>; with `heads` also <name>_<head> for each. Null, with a detail, where a row is too long."""

    Params = Scaled

    def __init__(self, params: Scaled) -> None:
        super().__init__(params)
        self.outputs = ("", *(f"_{head}" for head in params.heads))

    @property
    def width(self) -> int:
        return max(1, len(self.params.heads))

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        from engine.score.heads.classifier import Classifier
        from engine.score.heads.reading import read

        params: Scaled = self.params
        classifier = Classifier(ctx, forced.Named(params.model).model(ctx), params)
        chats, answers = rows["messages"].to_pylist(), rows["response"].to_pylist()
        texts = [classifier.shown(params.asked(chat), answer) for chat, answer in zip(chats, answers, strict=True)]
        found = read(ctx, classifier, texts, label=f"reward model ({params.model})", journal=ctx.journal)
        numbers = [params.scaled(one.passes[0]) if one.passes else None for one in found]
        detail = pa.array([one.detail for one in found], pa.string())
        columns = [[params.total(row) if row else None for row in numbers]]
        columns += [[row[i] if row else None for row in numbers] for i in range(len(params.heads))]
        tables = (pa.table({"item_id": rows["generation_id"], "value": pa.array(c, pa.float64()), "detail": detail}) for c in columns)
        return dict(zip(self.outputs, tables, strict=True))
