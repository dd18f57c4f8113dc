"""The policy judges its own answers: mean of three votes with an additive rubric of five points.

Source: Yuan et al., "Self-Rewarding Language Models" (arXiv 2401.10020): the model of the round scores each of its answers from 0
to 5, three times, and the mean makes the pairs. A vote that cannot be read is left out; an answer without any has no number, where
some reproductions give it -1, which makes it the worst of its prompt.
"""

from __future__ import annotations

from pydantic import Field

from engine.score.judge import Voting
from engine.score.measures import measures
from engine.score.measures.judge import Judged
from engine.server import ServerParams


class SelfRewardParams(Voting):
    """The policy's rubric and votes."""

    prompt: str = Field("additive", description="a shipped prompt (engine/score/judge/prompts) or a YAML file beside the spec")
    votes: int = Field(3, gt=0, description="replies to each question")
    temperature: float = Field(0.7, ge=0, description="of the replies; 0 is greedy")
    top_p: float = Field(0.9, gt=0, le=1, description="nucleus that replies are drawn from")

    @property
    def where(self) -> tuple[ServerParams | None, str]:
        return None, "policy"


@measures.register("self_reward")
class SelfReward(Judged):
    """Points from 0 to 5, null where none of the votes could be read."""

    Params = SelfRewardParams
