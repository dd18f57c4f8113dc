"""Objectives that answer prompts themselves: sample with the weights that train, score with the experiment's scorers, step, repeat.

Light to import; `engine.train.online.running` trains. Answers are sampled in this process, whatever `generate.backend` says, and go
to the lake like any others: part `train` of generations (`train/<role>` for another role than the policy), their scores beside them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from engine.errors import SpecError
from engine.parts.generate import Sampler
from engine.parts.part import F, Part
from engine.spec import Spec, Train
from engine.step import POLICY, Ref
from engine.train import Job, Objective, Trained

if TYPE_CHECKING:
    from engine.train.online.running import Online
    from engine.train.online.trainer import OnlineTrainer

PROMPTS = Ref("prompts", "train")
OWN = ("temperature", "top_p", "top_k", "max_tokens", "stop")


class OnlineParams(Part):
    """Settings that every online objective has."""

    samples: int | None = F(None, "answers a prompt, the group that its advantages compare; none: as in generate", "answers", ge=2)
    temperature: float | None = F(None, "none: as in generate", gt=0)
    top_p: float | None = F(None, "none: as in generate", gt=0, le=1)
    top_k: int | None = F(None, "none: as in generate", "tokens", ge=0)
    max_tokens: int | None = F(None, "none: as in generate", "tokens", gt=0)
    stop: tuple[str, ...] | None = F(None, "none: as in generate")
    beta: float = F(0.0, "weight of the KL divergence to train.reference; 0 needs reference: none", ge=0)
    epsilon: float = F(0.2, "the probability ratio is clipped at 1 - epsilon below", gt=0)
    epsilon_high: float | None = F(None, "and at 1 + epsilon_high above; none: epsilon", gt=0)
    iterations: int = F(1, "optimizer steps on each batch of answers", "steps", gt=0)
    together: int = F(1, "batches whose prompts are answered at once, by the weights before the first of them", "batches", gt=0)
    scale: float = F(1.0, "the combined score times this is the reward", gt=0)
    missing_eos: float | None = F(None, "reward of an answer that did not end by itself, whatever its score; none: its score counts")
    mask_truncated: bool = F(False, "an answer that did not end by itself trains no token (its reward still counts in its group)")


class OnlineObjective(Objective):
    """An objective with rollouts of its own. `train.batch_size` counts prompts: a step trains on `samples` answers to each of them,
    and the rows that `trained_rows` names are those answers."""

    reads: ClassVar[Literal["selected", "pairs", "prompts"]] = "prompts"
    reference: ClassVar[Literal["none", "values", "model"]] = "model"
    parts: ClassVar[bool] = True
    penalty: ClassVar[Literal["reward", "loss"]] = "loss"  # where the KL divergence to the reference enters
    Params: ClassVar[type[Part]] = OnlineParams

    @property
    def compares(self) -> Literal["none", "values", "model"]:
        """A reference is run only where its divergence counts."""
        return "model" if self.params.beta else "none"

    def sampler(self, spec: Spec) -> Sampler:
        """How answers are drawn: as in `generate`, and `params` over it."""
        own = {name: value for name in OWN if (value := getattr(self.params, name)) is not None}
        return Sampler(**{name: getattr(spec.generate, name) for name in Sampler.model_fields} | own)

    def samples(self, spec: Spec) -> int:
        """Answers a prompt."""
        return self.params.samples or spec.generate.samples

    def refs(self, spec: Spec, round_: int) -> list[Ref]:
        """The round's prompts."""
        return [PROMPTS]

    def writes(self, spec: Spec, role: str) -> list[tuple[str, str]]:
        """The answers, the verdicts of each scorer, and the combined scores."""
        scorers = [*(scorer.column for scorer in spec.score), "score"]
        return [("generations", part(role)), *(("scores", f"{part(role)}/{name}") for name in scorers)]

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """The sampler, and the scorers with what combines them."""
        from engine.score import waves

        rollouts = {"sampler": self.sampler(spec).model_dump(mode="json"), "samples": self.samples(spec)}
        return {"rollouts": rollouts | {"keep_tokens": spec.generate.keep_tokens}, "judge": waves.settings(spec)}

    def check(self, spec: Spec, train: Train, spec_path: Path) -> None:
        """SpecError where nothing judges an answer by itself, a group is a single answer, or a setting has no use."""
        if not spec.score:
            raise SpecError(f"score: the objective {train.objective} learns from scores, and there is no scorer", hint="add a verifier")
        if odd := next((scorer.column for scorer in spec.score if scorer.measure), None):
            raise SpecError(
                f"score: {odd} is a measure, and only verifiers can judge while a model trains",
                hint=f"leave it out, or score it as an entry of `measure`; {train.objective} rewards the combined score",
            )
        self._check_combine(spec, train)
        self._check_sampling(spec, train)
        unused = {"data": train.data != "round", "select": train.select, "pairs": train.pairs}
        unused |= {name: getattr(train, name, None) for name in ("replay", "hold_out")}
        if lost := next((name for name, given in unused.items() if given), None):
            raise SpecError(
                f"train.{lost}: the objective {train.objective} trains on answers that it samples itself, so this has no use",
                hint="set train.data: round" if lost == "data" else f"leave train.{lost} out",
            )
        if train.references and not self.params.beta:
            raise SpecError(
                f"train.reference: {train.reference}, but params.beta is 0, so that nothing compares with it",
                hint="set train.reference: none, or params.beta above 0",
            )

    def _check_combine(self, spec: Spec, train: Train) -> None:
        from engine.score.expression import Expression

        if window := Expression.of(spec).window:
            raise SpecError(
                f"combine: {window} looks at other answers, and {train.objective} judges answers by the batch",
                hint="combine row by row; advantages compare the answers of a prompt anyway",
            )

    def _check_sampling(self, spec: Spec, train: Train) -> None:
        if self.sampler(spec).temperature == 0:
            raise SpecError(
                f"train.params.temperature: {train.objective} compares answers to a prompt, and at temperature 0 all are the same",
                hint="set generate.temperature, or train.params.temperature, above 0",
            )
        if self.samples(spec) < 2:
            raise SpecError(
                f"train.params.samples: {train.objective} compares answers to a prompt, and generate.samples is {spec.generate.samples}",
                hint="set train.params.samples to 2 or more",
            )

    @abstractmethod
    def advantages(self, rewards: Sequence[float | None]) -> list[float]:
        """The advantage of each answer of one group; that of an answer without a reward is 0."""

    @abstractmethod
    def trainer(self) -> type[OnlineTrainer]:
        """The trainer's class; imports TRL."""

    @abstractmethod
    def config(self, online: Online) -> Any:
        """TRL's configuration."""

    def train(self, job: Job) -> Trained:
        """Trains from `job.model` on answers to `job.rows`, rows of prompts; see `engine.train.Objective`."""
        from engine.train.online.running import train
        from engine.train.quiet import quiet

        with quiet():
            return train(job, self)


def part(role: str) -> str:
    """The part of generations with a role's training rollouts."""
    return "train" if role == POLICY else f"train/{role}"
