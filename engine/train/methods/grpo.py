"""Group relative policy optimisation, on answers that the model samples while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from engine.parts.part import F
from engine.train import objectives
from engine.train.online import OnlineObjective, OnlineParams
from engine.train.online.advantages import standardised

if TYPE_CHECKING:
    from engine.train.online.running import Online
    from engine.train.online.trainer import OnlineTrainer


class Params(OnlineParams):
    """Settings of `grpo`."""

    std: Literal["population", "sample", "none"] = F(
        "population", "what advantages are divided by: the group's standard deviation over n, over n - 1, or nothing (Dr. GRPO)"
    )
    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = F(
        "grpo", "grpo: mean over an answer's tokens, then over answers; bnpo, dapo: over the tokens of the step; dr_grpo: over max_tokens"
    )
    ratio: Literal["token", "sequence"] = F("token", "probability ratios of tokens, or of whole answers by their token mean (GSPO)")


@objectives.register("grpo")
class Grpo(OnlineObjective):
    """TRL's GRPO loss (Shao et al., "DeepSeekMath", arXiv 2402.03300): with r_t the probability ratio of token t between the weights
    that train and those that sampled, A the answer's advantage and k3 the estimate exp(ref - own) - (ref - own) - 1 of the KL divergence,

        -min(r_t A, clip(r_t, 1 - epsilon, 1 + epsilon_high) A) + beta k3

    A is (reward - mean) / std of the prompt's answers; the standard deviation is the population's (over n) unless `std` says else,
    while TRL's own is the sample's. A group whose rewards are all equal stays in the step with advantages of 0: it counts in means
    over answers, and `frac_zero_std` of training_log says how many there were. Dropout is off. Variants: Dr. GRPO is `std: none,
    loss: dr_grpo` (arXiv 2503.20783), clip-higher and token means are DAPO's (arXiv 2503.14476), `ratio: sequence` is GSPO's (2507.18071).
    """

    Params = Params

    def advantages(self, rewards: Sequence[float | None]) -> list[float]:
        """Standardised within the group."""
        return standardised(rewards, self.params.std)

    def trainer(self) -> type[OnlineTrainer]:
        """TRL's GRPOTrainer with our batches."""
        from engine.train.online.trainer import GrpoTrainer

        return GrpoTrainer

    def config(self, online: Online) -> Any:
        """GRPOConfig; `beta` is set by the trainer, which has a reference of its own."""
        from trl import GRPOConfig

        own = {"loss_type": self.params.loss, "importance_sampling_level": self.params.ratio}
        return GRPOConfig(**online.arguments(), **own)
