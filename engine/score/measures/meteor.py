"""METEOR of every answer against a text of its prompt: the reference, what was asked, or a worked solution.

A sudden rise against the prompt means that the policy copies it (Rondo's catalogue of reward-hacking indicators). METEOR and its
source: engine/score/likeness/meteor.py. An answer of 100 words takes 0.1 ms.
"""

from __future__ import annotations

import json
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from engine.errors import StepError
from engine.params import Params
from engine.prompts.hygiene.texts import asked
from engine.score.likeness.meteor import Words, meteor
from engine.score.measures import Measure, measures
from engine.step import Context


class MeteorParams(Params):
    """What an answer is compared with."""

    to: Literal["reference", "prompt", "gold"] = Field(
        "reference", description="reference: the prompt's; prompt: what the model saw, but the system's messages; gold: a field of meta"
    )
    gold: str | None = Field(None, description="to gold: the key of prompts.meta that holds the worked solution, such as solution")
    stem: bool = Field(True, description="words with equal English stems match where equal words do not")

    @model_validator(mode="after")
    def _fits(self) -> MeteorParams:
        if (self.to == "gold") != (self.gold is not None):
            raise ValueError("give `gold`, a key of prompts.meta, with to: gold and only there")
        return self


@measures.register("meteor")
class Meteor(Measure):
    """Column <name>: METEOR with the answer as hypothesis, 0 to 1. StepError where a prompt lacks the text to compare with."""

    per_answer = True
    Params = MeteorParams

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        known: dict[str, Words] = {}
        values = []
        columns = [rows[name].to_pylist() for name in ("response", "prompt_id", "messages", "reference", "meta")]
        for response, prompt, chat, reference, meta in zip(*columns, strict=True):
            text = self._text(prompt, chat, reference, meta)
            if text not in known:
                known[text] = Words(text, self.params.stem)
            values.append(round(meteor(known[text], Words(response, self.params.stem)), 12))
        return {"": pa.table({"item_id": rows["generation_id"], "value": pa.array(values, pa.float64())})}

    def _text(self, prompt: str, chat: list[dict[str, Any]], reference: str | None, meta: str | None) -> str:
        if self.params.to == "prompt":
            return asked({"messages": chat})
        if self.params.to == "reference":
            found, hint = reference, "name its column in prompts.fields.reference"
        else:
            found, hint = json.loads(meta or "{}").get(self.params.gold), "params.gold names a column of the prompt file"
        if not isinstance(found, str):
            what = "reference" if self.params.to == "reference" else f"text {self.params.gold!r} in its meta"
            raise StepError(f"meteor: prompt {prompt} has no {what}", hint=hint)
        return found
