"""The models that an entry of `train` or `merge` names: previous, policy-N, base, own, or another role's of this round."""

from __future__ import annotations

from engine.errors import SpecError
from engine.parts.train import EARLIER, OWN, PREVIOUS, STARTED
from engine.spec import Spec, Train
from engine.step import POLICY, Context, Model, Ref


def refs(name: str, role: str) -> list[Ref]:
    """The parts that say which checkpoint the model `name` of an entry for `role` is."""
    if name == PREVIOUS:
        return [Ref("policy")]
    if found := EARLIER.fullmatch(name):
        return [Ref("policy", ago=int(found[1]))]
    base = Ref("checkpoints", POLICY, "base")
    if name == STARTED:
        return [base]
    return [base, Ref("checkpoints", role, "history")] if name == OWN else [Ref("checkpoints", name)]


def model(ctx: Context, name: str, role: str) -> Model:
    """The model itself. `policy-N` is the policy of N rounds ago (of round 0 where there were fewer); `own` is the role's checkpoint of
    the last round that had one, the base where none had."""
    if name == PREVIOUS:
        return ctx.model("policy")
    if found := EARLIER.fullmatch(name):
        return ctx.model("policy", ago=int(found[1]))
    if name == STARTED:
        return ctx.model("base")
    return ctx.model("own", role=role) if name == OWN else ctx.model("checkpoint", role=name)


def check(spec: Spec, train: Train) -> None:
    """SpecError where an entry names a role whose model has a head, and needs words or other outputs."""
    from engine.train import objective

    own, roles = objective(train).outputs, {one.role: one for one in spec.train}
    for name in train.sources:
        given = objective(roles[name]).outputs if name in roles else None
        if given is not None and given != own:
            wanted = f"a head with {', '.join(own)}" if own else "one that gives words"
            raise SpecError(
                f"train ({train.role}): the role {name} trains a head with {', '.join(given)}, and {train.objective} needs {wanted}",
                hint="name previous, base, own or another role in `init` and `reference`",
            )
