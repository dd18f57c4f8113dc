"""Measures and comparers whose model is one that this round trains: what they need, and where they cannot stand."""

from __future__ import annotations

from engine.errors import SpecError
from engine.score.measures import columns_of, make
from engine.spec import Spec
from engine.step import POLICY, Ref


def named(refs: list[Ref], when: tuple[str, ...] = ("round", "history")) -> list[str]:
    """The roles whose checkpoints are among what a step reads, the policy apart."""
    return sorted({ref.part for ref in refs if ref.table == "checkpoints" and ref.part and ref.part != POLICY and ref.when in when})


def late(spec: Spec) -> set[str]:
    """Columns of `scored` that a model gives which this round trains."""
    found: set[str] = set()
    for entry in spec.measure:
        if entry.method and named(make(entry).reads(spec, 0), ("round",)):
            found |= set(columns_of(entry))
    return found


def check(spec: Spec) -> None:
    """SpecError where an entry of `score` names a role: held-out answers of the base would have no number, and those of two rounds
    would be measured by two models."""
    for scorer in spec.score:
        roles = named(make(scorer).reads(spec, 0)) if scorer.measure else []
        if roles:
            raise SpecError(
                f"score ({scorer.column}): it is to be read by the role {roles[0]}, which is another model in every round and none at the "
                "base, so held-out scores could not be compared",
                hint="put it under `measure`: it then numbers the rollouts, as a column of `scored`",
            )
