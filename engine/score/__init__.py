"""Scorers: anything that gives an answer a number. A new one is one file: a Verifier registered under the file's name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from engine.errors import SpecError
from engine.ids import digest
from engine.params import Params, validated
from engine.registry import Registry
from engine.spec import Scorer, Spec
from engine.tables import TABLES

RIGHT, WRONG, UNPARSEABLE, TIMEOUT, ERROR = "right", "wrong", "unparseable", "timeout", "error"


class Verdict(NamedTuple):
    """What a verifier says: a number, one of right/wrong/unparseable/timeout/error, and why (in words)."""

    value: float | None
    verdict: str
    detail: str | None = None


class Verifier(ABC):
    """Scores one answer. Loads what it needs at the first call, keeps no state that changes a verdict.

    `references` and `prompts` say whether it needs the reference and the prompt's last message; what it does not need
    it gets as None, and answers that then agree are scored once. `batch` rows are journaled together.
    """

    revision: int = 1
    references: bool = True
    prompts: bool = False
    batch: int = 4096
    Params: type[Params] = Params

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def verify(self, response: str, reference: str | None, prompt: str | None) -> Verdict:
        """The verdict on one answer; the same arguments give the same verdict (a timeout excepted)."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Frees what it holds (a child process, a model); it may be used again."""


_HELPERS = (
    *("steps", "verify", "combine", "latex", "latex_worker", "plain", "arithmetic"),
    *("judge", "measured", "forced", "reader", "choices"),
)
verifiers: Registry[type[Verifier]] = Registry("score", not_methods=_HELPERS)


def make(scorer: Scorer) -> Verifier:
    """The verifier of a spec entry. SpecError for an unknown one, or for a parameter that it does not have or cannot use."""
    method = verifiers.load(scorer.verifier)
    return method(validated(method.Params, scorer.params, f"score ({scorer.column}): params", f"the verifier {scorer.verifier!r}"))


def version(scorer: Scorer, verifier: Verifier) -> str:
    """16 hex digits over the method, its revision and its parameters: what `scorer_version` holds."""
    return digest(scorer.verifier, verifier.revision, verifier.params.model_dump(mode="json"))


def check(spec: Spec) -> None:
    """SpecError when a scorer is unknown, its parameters are wrong, it lacks a reference, or `combine` cannot work."""
    from engine.score.combine import check_combine

    taken = {*TABLES["generations"].schema.names, "verdict"}
    for scorer in spec.score:
        if scorer.column in taken:
            raise SpecError(f"score ({scorer.column}): `scored` already has a column of this name", hint="give the scorer another `name`")
        if make(scorer).references and spec.prompts.fields.reference is None:
            raise SpecError(
                f"score ({scorer.column}): {scorer.verifier} compares with a reference, and the spec names no column for it",
                hint="set prompts.fields.reference",
            )
    if spec.combine:
        check_combine(spec.combine, [scorer.column for scorer in spec.score])
