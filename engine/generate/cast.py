"""Who answers in a step: an actor's backend, model, sampler and share, and the models that a spec's words name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engine import models
from engine.errors import SpecError
from engine.generate import POLICY, backends
from engine.randomness import row_keys
from engine.spec import Actor, Sampler, Spec
from engine.step import Context, Model, Ref

EARLIER = re.compile(r"policy-([1-9]\d*)")
CHECKPOINTS: dict[str, Ref] = {
    "policy": Ref("policy"),
    "checkpoint": Ref("checkpoints", "policy"),
    "base": Ref("checkpoints", "policy", "base"),
}


class Setup(NamedTuple):
    """How one actor answers: the backend's name and its own settings (which stand at `field`), the sampler, answers a prompt,
    answers that are sampled together, the model in the spec's words, and the share of the prompts that are asked."""

    backend: str
    params: Mapping[str, Any]
    field: str
    sampler: Sampler
    samples: int
    batch: int
    model: str = "policy"
    actor: str = POLICY
    share: float = 1.0


def cast(spec: Spec) -> list[Setup]:
    """The actors of the round, in the order of the spec; the policy alone where it names none."""
    own = spec.generate
    plain = Setup(own.backend, own.params, "generate.params", own, own.samples, own.batch)
    return [_setup(plain, actor, number) for number, actor in enumerate(own.actors)] or [plain]


def _setup(plain: Setup, actor: Actor, number: int) -> Setup:
    fields = ("temperature", "top_p", "top_k", "max_tokens")
    changed = {name: value for name in fields if (value := getattr(actor, name)) is not None}
    field = f"generate.actors[{number}].params"
    return plain._replace(
        backend=actor.backend or plain.backend,
        params=actor.params if actor.backend else {**plain.params, **actor.params},
        field=field if actor.backend or actor.params else plain.field,
        sampler=plain.sampler.model_copy(update=changed | {"samples": actor.samples or plain.samples}),
        samples=actor.samples or plain.samples,
        model=actor.model,
        actor=actor.name,
        share=actor.share,
    )


def model_ref(name: str) -> Ref | None:
    """What a step reads for a model; None for one outside the experiment."""
    if found := EARLIER.fullmatch(name):
        return Ref("policy", ago=int(found[1]))
    return CHECKPOINTS.get(name)


def model_of(ctx: Context, name: str) -> Model:
    """The model that a spec's word means in this round. ModelError where its files are missing or changed."""
    if found := EARLIER.fullmatch(name):
        return ctx.model("policy", ago=int(found[1]))
    for own in ("policy", "checkpoint", "base"):
        if name == own:
            return ctx.model(own)
    path = models.resolve(name, ctx.spec_path)
    return Model(models.digest(path), path)


def model_settings(name: str, spec_path: Path) -> dict[str, Any]:
    """JSON for the fingerprint: the digest of a model outside the experiment; those inside are inputs."""
    return {} if model_ref(name) else {"model": models.digest(models.resolve(name, spec_path))}


def drawn(prompts: Sequence[str], how: Setup, seed: int, round_: int, step: str) -> list[str]:
    """The prompts that an actor is asked: `share` of them, rounded up, by lot from (seed, round, step, actor, prompt)."""
    if how.share == 1:
        return list(prompts)
    keys = row_keys(seed, round_, step, [f"share/{how.actor}/{prompt}" for prompt in prompts])
    first = sorted(range(len(prompts)), key=lambda i: (int(keys[i]), prompts[i]))[: math.ceil(how.share * len(prompts) - 1e-9)]
    return [prompts[i] for i in sorted(first)]


def check(spec: Spec) -> None:
    """SpecError for actors that share a name, or budgets that are about a policy which does not answer."""
    own = spec.generate
    names = [actor.name for actor in own.actors]
    if len(set(names)) < len(names):
        raise SpecError(f"generate.actors: a name stands twice in {names}", hint="give each actor a name of its own")
    if names and POLICY not in names and (own.until or own.plan):
        what = "until" if own.until else "plan"
        raise SpecError(f"generate.{what}: it is about the actor {POLICY!r}, and there are only {names}", hint=f"call one {POLICY!r}")
    for number, actor in enumerate(own.actors):
        if actor.model != "policy" and not backends.load(actor.backend or own.backend).needs_model:
            text = f"generate.actors[{number}].model: the backend {actor.backend or own.backend!r} takes no model from here"
            raise SpecError(text, hint="leave `model` out, and name the model in `params` where the backend has one")
