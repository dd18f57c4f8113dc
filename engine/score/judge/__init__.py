"""Models as judges: prompts as data files, votes read from what the judge says, and numbers from votes.

The measures `judge` and `self_reward` and the comparer `judge` are thin layers over this folder. A judge is a model on a server
(`server`) or a model of the experiment or a folder (`model`); both are asked the same questions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from pydantic import Field, model_validator

from engine.params import Params
from engine.server import ServerParams

LONGEST_TEXT, LONGEST_LETTER = 512, 4  # tokens of a reply by default: of a text, and of one that is read by its probabilities


class Voting(Params, ABC):
    """What a judge is asked, how often, and how its votes become a number."""

    prompt: str = Field("points", description="a shipped prompt (engine/score/judge/prompts) or a YAML file beside the spec")
    votes: int = Field(1, gt=0, description="replies to each question")
    temperature: float = Field(0.0, ge=0, description="of the replies; 0 is greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus that replies are drawn from")
    max_tokens: int | None = Field(None, gt=0, description=f"longest reply; none: {LONGEST_TEXT}, or {LONGEST_LETTER} where read: logprobs")
    aggregate: Literal["mean", "median", "majority"] = Field(
        "mean", description="of the votes that could be read; majority: the most frequent one, of equally frequent ones the smallest"
    )
    read: Literal["text", "logprobs"] | None = Field(
        None, description="text: what the judge writes; logprobs: how probable it finds each word of `values`; none: as the prompt says"
    )
    criteria: dict[str, str] = Field({}, description="name: text; the prompt is asked once for each, and the number is their mean")
    criteria_file: str | None = Field(None, description="YAML file beside the spec with such names and texts, such as principles")
    criteria_field: str | None = Field(None, description="key of prompts.meta that holds the texts of a prompt's own criteria")
    max_errors: float = Field(0.0, ge=0, lt=1, exclude=True, description="share of requests that may fail for good before the step fails")
    max_length: int = Field(4096, gt=0, description="tokens of the longest question that a local model reads")
    batch: int = Field(32, gt=0, exclude=True, description="questions that a local model answers together")

    @model_validator(mode="after")
    def _fits(self) -> Voting:
        if self.votes > 1 and self.temperature == 0:
            raise ValueError(f"votes: {self.votes} greedy replies are all the same; set a temperature, or votes: 1")
        given = [name for name in ("criteria", "criteria_file", "criteria_field") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"criteria come from one place, found {' and '.join(given)}")
        return self

    @property
    @abstractmethod
    def where(self) -> tuple[ServerParams | None, str]:
        """(the server, or None; else the local model's name)."""


class JudgeParams(Voting):
    """Who judges, beside that."""

    server: ServerParams | None = Field(None, description="an OpenAI-compatible server: {url, model, key_env, ...}")
    model: str | None = Field(None, description="policy, base, a role of `train`, or a folder with a model, relative to the spec")

    @model_validator(mode="after")
    def _one(self) -> JudgeParams:
        if (self.server is None) == (self.model is None):
            raise ValueError("who judges: give either `server` or `model`")
        return self

    @property
    def where(self) -> tuple[ServerParams | None, str]:
        return self.server, self.model or ""
