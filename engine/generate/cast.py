"""Who answers in a step: an actor's backend, model, sampler and share, and the models that a spec's words name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from engine import models
from engine.errors import SpecError
from engine.generate import POLICY, backends, params
from engine.generate.asks import PER_ROW
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
    batch: int | Literal["auto"]
    model: str = "policy"
    actor: str = POLICY
    share: float = 1.0


def cast(spec: Spec) -> list[Setup]:
    """The actors of the round, in the order of the spec; the policy alone where it names none."""
    own = spec.generate
    plain = Setup(own.backend, own.params, "generate.params", own, own.samples, own.batch)
    found = [_setup(plain, actor, number) for number, actor in enumerate(own.actors)] or [plain]
    return [how._replace(samples=1) if backends.load(how.backend).single else how for how in found]


def _setup(plain: Setup, actor: Actor, number: int) -> Setup:
    changed = {name: value for name in PER_ROW if (value := getattr(actor, name)) is not None}
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


def share_of(how: Setup, prompts: int) -> int:
    """How many of so many prompts an actor is asked."""
    return min(prompts, max(1, math.ceil(how.share * prompts - 1e-9)))


def drawn(prompts: Sequence[str], how: Setup, seed: int, round_: int, step: str) -> list[str]:
    """The prompts that an actor is asked: `share` of them, rounded up and at least one, by lot from (seed, round, step, actor, prompt)."""
    if how.share == 1:
        return list(prompts)
    keys = row_keys(seed, round_, step, [f"share/{how.actor}/{prompt}" for prompt in prompts])
    first = sorted(range(len(prompts)), key=lambda i: (int(keys[i]), prompts[i]))[: share_of(how, len(prompts))]
    return [prompts[i] for i in sorted(first)]


def check(spec: Spec, spec_path: Path) -> None:
    """SpecError for actors that share a name or are told what their backend has no use for, and for budgets about a policy that
    does not answer. Reads recorded answers, since files may name actors too."""
    own, setups = spec.generate, cast(spec)
    _check_names([how.actor for how in setups])
    for number, (actor, how) in enumerate(zip(own.actors, setups, strict=False)):  # no actors: the policy alone
        _check_use(actor, how, f"generate.actors[{number}]")
    if own.until or own.plan:
        _check_budget("until" if own.until else "plan", setups)
    found = [params(how.backend, dict(how.params), how.field) for how in setups]
    _check_names(
        [name for how, one in zip(setups, found, strict=True) for name in backends.load(how.backend).actors(one, spec_path, how.actor)]
    )


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        hint = "give each actor a name of its own; files of recorded answers name theirs in `params.actor` or `params.responses`"
        raise SpecError(f"generate.actors: the name {twice!r} stands twice in {list(names)}", hint=hint)


def _check_use(actor: Actor, how: Setup, field: str) -> None:
    """SpecError for a setting of an actor that its backend would pass over."""
    backend = backends.load(how.backend)
    given = [name for name in PER_ROW if getattr(actor, name) is not None]
    if actor.model != "policy" and not backend.needs_model:
        text = f"{field}.model: the backend {how.backend!r} takes no model from here"
        raise SpecError(text, hint="leave `model` out, and name the model in `params` where the backend has one")
    if given and not backend.uses_sampler:
        raise SpecError(f"{field}.{given[0]}: the backend {how.backend!r} samples nothing", hint=f"leave {', '.join(given)} out")
    if backend.single and (actor.samples or 1) > 1:
        raise SpecError(f"{field}.samples: the backend {how.backend!r} has one answer to a prompt", hint="leave `samples` out")


def _check_budget(what: str, setups: Sequence[Setup]) -> None:
    """SpecError for waves or a plan about a policy that is not there, or that answers once however often it is asked."""
    policy = next((how for how in setups if how.actor == POLICY), None)
    if policy is None:
        text = f"generate.{what}: it is about the actor {POLICY!r}, and there are only {[how.actor for how in setups]}"
        raise SpecError(text, hint=f"call one {POLICY!r}")
    if backends.load(policy.backend).single:
        raise SpecError(f"generate.{what}: the backend {policy.backend!r} has one answer to a prompt", hint=f"leave `{what}` out")
