"""How answers are made: the sampler, budgets, a calibration before the round, and follow-ups after it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from engine.parts.part import Batch, F, Part, Slug

# names of other steps and parts begin so
TAKEN = {
    "calibrate",
    "checkpoint",
    "clusters",
    "compare",
    "embeddings",
    "eval",
    "pick",
    "plan",
    "scores",
    "until",
}


class Sampler(Part):
    temperature: float = F(1.0, "0 is greedy", ge=0)
    top_p: float = F(1.0, "share of probability mass to draw from", gt=0, le=1)
    top_k: int = F(0, "0: no limit", "tokens", ge=0)
    max_tokens: int = F(512, "longest answer", "tokens", gt=0)
    stop: tuple[str, ...] = F((), "strings that end an answer; they are cut off")


class Until(Part):
    right: int | None = F(None, "right answers (score >= `bar`) after which a prompt is done", "answers", gt=0)
    wrong: int | None = F(None, "wrong answers that a prompt also needs", "answers", gt=0)
    bar: float = F(1.0, "score from which an answer is right")
    agree: int | None = F(None, "a prompt is done when it has so many answers and all have the same final answer", "answers", gt=1)
    cap: int = F(..., "most answers a prompt", "answers", gt=0)
    wave: int = F(4, "answers a prompt between two looks", "answers", gt=0)


class Actor(Part):
    """Who answers. What is not given is as in `generate`."""

    name: Slug = F("policy", "column `actor` of its answers")
    model: str = F("policy", "policy, policy-N (N rounds ago, the base where there were fewer), base, or a folder or hub id of a model")
    backend: str | None = F(None, "method of engine/generate; none: as in generate")
    params: dict[str, Any] = F({}, "settings of the backend's own; where `backend` is given, they replace those of generate")
    samples: int | None = F(None, "answers a prompt; none: as in generate", "answers", gt=0)
    share: float = F(1.0, "share of the round's prompts that it is asked, drawn by lot anew each round", gt=0, le=1)
    temperature: float | None = F(None, "0 is greedy; none: as in generate", ge=0)
    top_p: float | None = F(None, "none: as in generate", gt=0, le=1)
    top_k: int | None = F(None, "none: as in generate", "tokens", ge=0)
    max_tokens: int | None = F(None, "none: as in generate", "tokens", gt=0)


class Generate(Sampler):
    backend: str = F("transformers", "method of engine/generate")
    samples: int = F(8, "answers a prompt", "answers", gt=0)
    actors: tuple[Actor, ...] = F((), "who answers; none: the policy alone. `until` and `plan` are about the one called policy")
    ceiling: int | None = F(None, "most response tokens of the round, all actors together; what may not fit is not asked", "tokens", gt=0)
    keep_tokens: bool = F(False, "keep token ids and their log-probabilities, where the backend has them")
    batch: Batch = F(512, "answers that are sampled together; changes no row; auto: what fits in memory, on a CPU at most 512", "answers")
    chat: bool | None = F(None, "use the model's chat template; none: where it has one")
    params: dict[str, Any] = F({}, "settings of the backend's own")
    until: Until | None = F(None, "sample each prompt in waves until it has enough; replaces `samples`")
    plan: Slug | None = F(
        None, "entry of `plan` with keys temperature, top_p, samples, right, wrong, cap; item_id: a prompt, or null: all prompts"
    )


class Calibrate(Part):
    prompts: int | None = F(None, "how many of the round's prompts, the first in a fixed hash order; none: all", "prompts", gt=0)
    samples: int = F(8, "answers a prompt and temperature", "answers", gt=0)
    temperatures: tuple[float, ...] = F(..., "temperatures that are tried", min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Calibrate:
        if min(self.temperatures) < 0 or len(set(self.temperatures)) < len(self.temperatures):
            raise ValueError(f"temperatures: expected different numbers from 0 up, found {list(self.temperatures)}")
        return self


class Followup(Sampler):
    """A second generation: SQL writes new messages about answers of the round, the policy answers them."""

    name: Slug = F(..., "part followup/<name> of generations and scores")
    sql: str = F(..., "SQL file that gives prompt_id, parent_id and messages")
    params: dict[str, Any] = F({}, "values of the $names in the SQL")
    samples: int = F(1, "answers a row of the SQL", "answers", gt=0)
    model: Literal["policy", "base"] = F("policy", "who answers")

    @model_validator(mode="after")
    def _free(self) -> Followup:
        if self.name in TAKEN:
            raise ValueError(f"name: {self.name!r} would give a step the name of another one; take a name that is not in {sorted(TAKEN)}")
        return self
