"""The experiment spec: the only place where settings are declared. Every field has a type, a default, a unit and a line.

Its parts lie in `engine.parts`. Loading files, `extends`, overrides and error places live in `engine.specfile`.
"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from engine.parts.choose import Cluster, Compare, Measure, Pairs, Picker, Plan, Scorer, Select
from engine.parts.continuing import EarlyStop, Half, Replay, Shape
from engine.parts.generate import Actor, Calibrate, Followup, Generate, Sampler, Until
from engine.parts.lora import Lora
from engine.parts.merge import Merge
from engine.parts.part import SLUG, F, Part, Paths, Slug
from engine.parts.prompts import Decontaminate, Fields, Holdout, Hygiene, Mix, Near, Prompts, Semantic, Suite
from engine.parts.train import EARLIER, OWN, PREVIOUS, STARTED, Base, Compute, Condition, Evaluate, Gate, Optimizer, Stop, TinyModel, Train

# fmt: off
__all__ = [
    "SLUG", "Actor", "Base", "Calibrate", "Cluster", "Compare", "Compute", "Condition", "Decontaminate", "EarlyStop", "Evaluate", "F",
    "Fields", "Followup", "Gate", "Generate", "Half", "Holdout", "Hygiene", "Lora", "Measure", "Merge", "Mix", "Models", "Near",
    "Optimizer", "Pairs", "Part", "Paths", "Picker", "Plan", "Prompts", "Replay", "Sampler", "Scorer", "Select", "Semantic", "Shape",
    "Slug", "Spec", "Stop", "Suite", "TinyModel", "Train", "Until",
]
# fmt: on


class Models(Part):
    policy: str | None = F(None, "folder or hub id of the first policy; none where `base` trains it")
    trust_remote_code: bool = F(False, "let a model run code of its own repository")


class Spec(Part):
    """One experiment. `stages` change parts of it over rounds; `at(round)` is the spec of one round."""

    experiment: Slug = F(..., "name; also the partition in every table")
    description: str = F("", "one line for people")
    seed: int = F(0, "root of all randomness")
    rounds: int = F(3, "rounds after the base", "rounds", gt=0)
    models: Models = F(Models(), "models that exist before round 0")
    base: Base | None = F(None, "pre-train a small model instead of loading one")
    prompts: Prompts = F(..., "questions and their splits")
    cluster: tuple[Cluster, ...] = F((), "embeddings and clusters of prompts or answers")
    plan: tuple[Plan, ...] = F((), "settings of a round that follow from earlier rounds or from a calibration")
    calibrate: Calibrate | None = F(None, "answers at several temperatures before the round generates; never train")
    generate: Generate = F(Generate(), "how the policy answers")
    followup: tuple[Followup, ...] = F((), "second generations about the round's answers")
    score: tuple[Scorer, ...] = F((), "verifiers and models that score every answer; the combined score is made of them")
    measure: tuple[Measure, ...] = F((), "numbers for every rollout, columns of `scored` beside the combined score")
    compare: tuple[Compare, ...] = F((), "models that judge pairs of a prompt's rollouts: rows of `preferences`")
    combine: str | None = F(None, "SQL expression over scorers, verdict_<name>, lengths, meta ... that gives `score`; needed with several")
    select: Select = F(Select(), "which answers train as demonstrations")
    pairs: Pairs = F(Pairs(), "which answers train against each other")
    train: tuple[Train, ...] = F(..., "models that train in a round", min_length=1)
    merge: tuple[Merge, ...] = F((), "checkpoints of a round that are made of others, not trained")
    evaluate: Evaluate = F(Evaluate(), "how every checkpoint is measured")
    gate: Gate = F(Gate(), "when a checkpoint becomes the policy")
    stop: Stop | None = F(None, "end the experiment when its learning curve has flattened")
    compute: Compute = F(Compute(), "device, threads, memory; resolved once per experiment")
    stages: tuple[dict[str, Any], ...] = F((), "[{rounds: '0-1', ...}, {rounds: '2-', ...}]: settings of some rounds")

    @model_validator(mode="after")
    def _whole(self) -> Spec:
        names = [*(s.column for s in self.score), *(m.column for m in self.measure), *(p.column for p in self.select.pickers)]
        if len(set(names)) < len(names):
            raise ValueError(f"score: two scorers, measures or pickers share a name in {names}; give one of them `name`")
        pairs = [compare.column for compare in self.compare]
        if len(set(pairs)) < len(pairs):
            raise ValueError(f"compare: a name stands twice in {pairs}; give one of them `name`")
        judges = [scorer.column for scorer in self.score]
        if len(judges) > 1 and not self.combine:
            raise ValueError(f"combine: several scorers need an expression, e.g. {' * '.join(judges)!r}")
        self._planned()
        roles = [train.role for train in self.train]
        if len(set(roles)) < len(roles):
            raise ValueError(f"train: role stands twice in {roles}")
        self._models()
        if bool(self.base) == bool(self.models.policy):
            raise ValueError("models.policy: give either a model to start from or `base` that trains one, not both or neither")
        known = set(self.evaluate.metrics)
        for condition in self.gate.require:
            if condition.metric not in known:
                raise ValueError(f"gate.require: metric {condition.metric!r} is not in evaluate.metrics {sorted(known)}")
        if self.gate.require and self.prompts.gate is None:
            raise ValueError("prompts.gate: the gate has conditions but there is no gate split to measure them on")
        return self

    def _models(self) -> None:
        """A role is made once, and every model that `train` and `merge` name is there."""
        trained, merged = {train.role for train in self.train}, [merge.role for merge in self.merge]
        if len(set(merged)) < len(merged):
            raise ValueError(f"merge: role stands twice in {merged}")
        if both := sorted(trained & set(merged)):
            hint = f"train under another role, and merge that into {both[0]!r}"
            raise ValueError(f"merge: the role {both[0]!r} is trained and merged; {hint}")
        known = {PREVIOUS, STARTED, OWN, *trained, *merged}
        for field, entry in [("train", train) for train in self.train] + [("merge", merge) for merge in self.merge]:
            if lost := sorted(name for name in entry.sources if name not in known and not EARLIER.fullmatch(name)):
                hint = f"there are previous, policy-N, base, own and the roles {sorted(trained | set(merged))}"
                raise ValueError(f"{field} ({entry.role}): no model {lost[0]!r}; {hint}")

    def _planned(self) -> None:
        """Names in `plan`, `cluster` and `followup` stand once, and what refers to them finds them."""
        plans = [plan.name for plan in self.plan]
        for field, names in {"plan": plans, "cluster": [c.name for c in self.cluster], "followup": [f.name for f in self.followup]}.items():
            if len(set(names)) < len(names):
                raise ValueError(f"{field}: a name stands twice in {names}")
        for field, name in {"generate.plan": self.generate.plan, "prompts.mix.plan": self.prompts.mix and self.prompts.mix.plan}.items():
            if name is not None and name not in plans:
                raise ValueError(f"{field}: no entry of `plan` is called {name!r}; there are {plans}")
        if self.stop and self.stop.metric not in self.evaluate.metrics:
            raise ValueError(f"stop.metric: {self.stop.metric!r} is not in evaluate.metrics {sorted(self.evaluate.metrics)}")
        if self.stop and self.prompts.gate is None:
            raise ValueError("prompts.gate: `stop` follows a metric of the gate split, and there is no gate split")
