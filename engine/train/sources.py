"""The models that an entry of `train` names: previous, base, own, or another role's of this round."""

from __future__ import annotations

from engine.parts.train import OWN, PREVIOUS, STARTED
from engine.step import POLICY, Context, Model, Ref


def refs(name: str, role: str) -> list[Ref]:
    """The parts that say which checkpoint the model `name` of an entry for `role` is."""
    if name == PREVIOUS:
        return [Ref("policy")]
    base = Ref("checkpoints", POLICY, "base")
    if name == STARTED:
        return [base]
    return [base, Ref("checkpoints", role, "history")] if name == OWN else [Ref("checkpoints", name)]


def model(ctx: Context, name: str, role: str) -> Model:
    """The model itself. `own` is the role's checkpoint of the last round that had one, the base where none had."""
    if name == PREVIOUS:
        return ctx.model("policy")
    if name == STARTED:
        return ctx.model("base")
    return ctx.model("own", role=role) if name == OWN else ctx.model("checkpoint", role=name)
