"""REINFORCE with a leave-one-out baseline, on answers that the model samples while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from engine.train import objectives
from engine.train.online import OnlineObjective
from engine.train.online.advantages import left_one_out

if TYPE_CHECKING:
    from engine.train.online.running import Online
    from engine.train.online.trainer import OnlineTrainer


@objectives.register("rloo")
class Rloo(OnlineObjective):
    """TRL's RLOO loss (Ahmadian et al., "Back to Basics", arXiv 2402.14740): with R the probability ratio of a whole answer between the
    weights that train and those that sampled, and A its advantage, the mean over answers of

        -min(R A, clip(R, 1 - epsilon, 1 + epsilon_high) A)

    A is the answer's reward less the mean reward of the other answers to its prompt; a group of equal rewards gives 0. The KL
    divergence to the reference is part of the reward: reward - beta * (log pi - log pi_ref), summed over the answer. Dropout is off.
    """

    penalty: ClassVar[Literal["reward", "loss"]] = "reward"

    def advantages(self, rewards: Sequence[float | None]) -> list[float]:
        """Against the mean of the others."""
        return left_one_out(rewards)

    def trainer(self) -> type[OnlineTrainer]:
        """TRL's RLOOTrainer with our batches."""
        from engine.train.online.trainer import RlooTrainer

        return RlooTrainer

    def config(self, online: Online) -> Any:
        """RLOOConfig; the divergence enters our rewards, so TRL needs no beta."""
        from trl import RLOOConfig

        return RLOOConfig(**online.arguments())
