"""How an adapter trains and what becomes of it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

from engine.parts.part import F, Part

KINDS = "default, gaussian, orthogonal, olora, eva, pissa, or pissa_niter_N"
# First values that are taken out of the base's own weights: such an adapter fits only the base that is left.
CHANGES_BASE = re.compile(r"pissa(_niter_[1-9]\d*)?|olora")


def _init(name: str) -> str:
    if not re.fullmatch(r"default|gaussian|orthogonal|eva", name) and not CHANGES_BASE.fullmatch(name):
        raise ValueError(f"expected {KINDS}, found {name!r}")
    return name


class Lora(Part):
    r: int = F(16, "rank", gt=0)
    alpha: float = F(32, "scale; the update is multiplied by alpha / r (rslora: by alpha / sqrt r)", gt=0)
    dropout: float = F(0.0, "share of inputs dropped", ge=0, lt=1)
    targets: tuple[str, ...] | Literal["all-linear"] = F("all-linear", "module names")
    rank_pattern: dict[str, int] = F({}, "ranks of modules whose name ends with the key (a regular expression), others have r")
    variant: Literal["lora", "dora", "rslora"] = F(
        "lora", "dora: length and direction of the weights apart (arXiv 2402.09353); rslora: another scale (arXiv 2312.03732)"
    )
    init: Annotated[str, AfterValidator(_init)] = F(
        "default",
        f"first values: {KINDS}; pissa: the base's largest singular directions (arXiv 2404.02948), N: steps of a faster SVD; "
        "eva: the directions of the training rows' activations (arXiv 2410.07170); olora: of a QR decomposition (arXiv 2406.01775)",
    )
    rho: float = F(2.0, "eva: a layer's rank is at most rho r; 1: every layer has r", ge=1)
    tau: float = F(0.99, "eva: cosine of a direction with that of the batch before, above which it has converged", gt=0, lt=1)
    save: Literal["merged", "adapter"] = F(
        "merged", "the checkpoint: a whole model, or the adapter alone beside its base, which then trains on in later rounds"
    )

    @property
    def changes_base(self) -> bool:
        """Whether the first values are taken out of the base's weights."""
        return CHANGES_BASE.fullmatch(self.init) is not None

    @model_validator(mode="after")
    def _fits(self) -> Lora:
        if any(rank < 1 for rank in self.rank_pattern.values()):
            raise ValueError(f"rank_pattern: expected ranks of 1 or more, found {self.rank_pattern}")
        if self.save == "adapter" and self.changes_base and (self.variant != "lora" or self.rank_pattern):
            raise ValueError(
                f"save: an adapter that starts with {self.init} is turned into a LoRA of twice the rank, which works for variant lora "
                "without rank_pattern alone; set save: merged"
            )
        if self.init == "eva" and (self.variant == "dora" or self.rank_pattern):
            raise ValueError("init: eva gives ranks to layers itself and is defined for variant lora and rslora, without rank_pattern")
        return self
