"""A model that says which of two answers to a prompt is better.

`classifier`: a head of two outputs (softmax; output `first_label` means that the first answer is better) or of one (its logistic
function), on a text with both answers. `letters`: a language model, by how probable it finds each of two letters as its reply.

With `passes` a classifier reads each text that often with dropout, as the estimator of UPO (arXiv 2409.11212): the probability is
the mean of the passes, `uncertainty` their information gain (BALD) in nats, and `detail` has the passes, their variance and how many
of them vote for the first answer. UPO drops pairs that the majority votes against. The paper's classifier is a LoRA adapter with
dropout in its branch; here dropout lies where `sites` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import yaml
from pydantic import Field, field_validator, model_validator

from engine.errors import SpecError
from engine.ids import canonical
from engine.score import choices, forced, heads
from engine.score.comparers import Comparer, comparers
from engine.score.heads import bald
from engine.score.measures.reward_model import logistic
from engine.spec import Spec
from engine.step import Context, Ref

FILE = Path(__file__).with_name("templates.yaml")


class PreferenceParams(heads.Dropout):
    """Which model, and how it sees two answers."""

    model: str = Field(
        ..., description="a role that trains one, or a folder with a model, relative to the spec; with `letters` also policy or base"
    )
    kind: Literal["classifier", "letters"] = Field("classifier", description="a head of one or two outputs, or a language model's letters")
    template: str | None = Field(None, description="a text with {prompt}, {first} and {second}; none: that of templates.yaml")
    chat: bool = Field(False, description="classifier: show the text as a user's message by the model's chat template")
    max_length: int = Field(4096, gt=0, description="a longer text, in tokens, gets no number; it is never cut")
    first_label: Literal[0, 1] = Field(0, description="classifier with two outputs: which says that the first answer is better")
    letters: tuple[str, str] = Field(("A", "B"), description="letters: the replies for the first and the second answer")

    @field_validator("template")
    @classmethod
    def _names(cls, text: str | None) -> str | None:
        return heads.lacking(text, ("prompt", "first", "second"))

    @model_validator(mode="after")
    def _fits(self) -> PreferenceParams:
        if self.kind == "letters" and self.passes:
            raise ValueError("passes: dropout needs kind: classifier")
        if len(set(self.letters)) < 2 or not all(self.letters):
            raise ValueError(f"letters: expected two different replies, found {list(self.letters)}")
        return self


@comparers.register("preference_model")
class PreferenceModel(Comparer):
    """Probability that the first answer is better; null, with a detail, where the text is too long."""

    on_device = True
    Params = PreferenceParams

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return forced.Named(self.params.model).reads(spec, round_)

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        own = {"template": self._template(), **({"seed": spec.seed} if self.params.passes else {})}
        if self.params.kind == "letters":
            return own | forced.settings(spec) | forced.Named(self.params.model).settings(spec, spec_path)
        if self.params.first_label and forced.role_of(spec, self.params.model):
            raise SpecError(
                f"preference_model: the role behind {self.params.model!r} trains output 0 to say that the first answer is better",
                where=str(spec_path),
                hint="leave first_label out",
            )
        return own | heads.settings(spec, self.params.model, spec_path, (1, 2), "preference_model", self.params, compares=True)

    def versions(self, ctx: Context) -> list[str]:
        return [forced.Named(self.params.model).model(ctx).digest]

    def compare(self, ctx: Context, questions: pa.Table) -> pa.Table:
        params: PreferenceParams = self.params
        chats, sides = questions["messages"].to_pylist(), (questions["first"].to_pylist(), questions["second"].to_pylist())
        letters = dict(zip(("letter_first", "letter_second"), params.letters, strict=True))
        texts = [
            choices.filled(self._template(), {"prompt": choices.asked(said), "first": first, "second": second} | letters)
            for said, first, second in zip(chats, *sides, strict=True)
        ]
        judged = self._by_letters(ctx, texts) if params.kind == "letters" else self._by_head(ctx, texts)
        columns = ("probability", "uncertainty", "votes", "detail")
        kinds = (pa.float64(), pa.float64(), pa.int64(), pa.string())
        made = {name: pa.array([row[name] for row in judged], kind) for name, kind in zip(columns, kinds, strict=True)}
        return pa.table({"key": questions["key"]} | made)

    def _template(self) -> str:
        return self.params.template or shipped(self.params.kind)

    def _by_letters(self, ctx: Context, texts: list[str]) -> list[dict[str, Any]]:
        params: PreferenceParams = self.params
        how = choices.Replying(model=params.model, max_length=params.max_length, letters=params.letters)
        found = choices.replies(ctx, how, texts, f"preference model ({params.model})")
        return [judged(None if shares is None else [shares[0]], "the text is too long", several=False) for shares in found]

    def _by_head(self, ctx: Context, texts: list[str]) -> list[dict[str, Any]]:
        from engine.score.heads.classifier import Classifier
        from engine.score.heads.dropout import Dropping
        from engine.score.heads.reading import read

        params: PreferenceParams = self.params
        shown = heads.Shown(max_length=params.max_length, chat=params.chat)
        classifier = Classifier(ctx, forced.Named(params.model).model(ctx), shown)
        if params.chat:
            texts = [classifier.templated([{"role": "user", "content": text}]) for text in texts]
        dropping = Dropping(params.passes, ctx.spec.seed, params.sites, params.dropout) if params.passes else None
        label = f"preference model ({params.model})"
        found = read(ctx, classifier, texts, label=label, journal=ctx.journal, dropping=dropping)
        chances = [None if one.passes is None else [chance(outputs, params.first_label) for outputs in one.passes] for one in found]
        return [judged(own, one.detail, bool(params.passes)) for own, one in zip(chances, found, strict=True)]


def chance(outputs: Sequence[float], first_label: int) -> float:
    """Probability that the first answer is better, from a head's one or two outputs."""
    margin = outputs[0] if len(outputs) == 1 else outputs[first_label] - outputs[1 - first_label]
    return round(logistic(margin), 12)


def judged(passes: Sequence[float] | None, why: str | None, several: bool) -> dict[str, Any]:
    """A row of the comparison from the probability of each pass; `votes`, `uncertainty` and the passes' detail where they are several."""
    if passes is None:
        return {"probability": None, "uncertainty": None, "votes": None, "detail": why}
    if not several:
        return {"probability": passes[0], "uncertainty": None, "votes": None, "detail": None}
    told = {"passes": list(passes), "variance": bald.variance(passes), "votes_first": sum(p > 0.5 for p in passes)}
    gain = bald.bald(passes)
    return {"probability": bald.mean(passes), "uncertainty": gain, "votes": len(passes), "detail": canonical(told)}


@lru_cache
def shipped(kind: str) -> str:
    """The text of templates.yaml for a kind."""
    return str(yaml.safe_load(FILE.read_text(encoding="utf-8"))[kind])
