"""Scorers: anything that gives an answer a number. A new one is one file: a Verifier registered under the file's name."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from engine.errors import SpecError
from engine.ids import digest
from engine.params import Params, validated
from engine.registry import Registry
from engine.spec import Scorer, Spec
from engine.tables import TABLES

RIGHT, WRONG, UNPARSEABLE, TIMEOUT, ERROR = "right", "wrong", "unparseable", "timeout", "error"


class Answer(NamedTuple):
    """What a verifier sees of one answer; what it does not ask for is None or empty.

    `prompt` is the prompt's last message, `meta` the keys of prompts.meta that its `fields` name (absent ones are left out).
    """

    response: str
    reference: str | None = None
    prompt: str | None = None
    meta: Mapping[str, Any] = MappingProxyType({})


class Verdict(NamedTuple):
    """What a verifier says: a number, one of right/wrong/unparseable/timeout/error, why (in words), and what ran the answer's code."""

    value: float | None
    verdict: str | None
    detail: str | None = None
    runner: str | None = None


class Verifier(ABC):
    """Scores one answer. Loads what it needs at the first call, keeps no state that changes a verdict.

    `references` and `prompts` say whether it needs the reference and the prompt's last message, `fields` which keys of
    prompts.meta; answers that agree in what it needs are scored once. `batch` rows are journaled together. `extracts`: it
    compares final answers, and `final` says which.
    """

    revision: int = 1
    references: bool = True
    prompts: bool = False
    extracts: bool = False
    batch: int = 4096
    Params: type[Params] = Params

    def __init__(self, params: Any) -> None:
        self.params = params

    def fields(self) -> tuple[str, ...]:
        """Keys of prompts.meta that it needs; a prompt that lacks one comes without it."""
        return ()

    @abstractmethod
    def verify(self, answer: Answer) -> Verdict:
        """The verdict on one answer; equal answers get the same verdict (a timeout excepted)."""

    def final(self, answer: Answer) -> str | None:
        """The final answer that it would compare, in one way of writing; None where it finds none. Only where it `extracts`."""
        raise NotImplementedError(f"{type(self).__name__} compares no final answers")

    def verify_all(self, answers: Sequence[Answer]) -> tuple[list[Verdict], list[float]]:
        """Verdicts and seconds of some answers, in order; a verifier that works on many at once does it here."""
        verdicts, seconds, before = [], [], time.perf_counter()
        for answer in answers:
            verdicts.append(self.verify(answer))
            now = time.perf_counter()
            seconds.append(now - before)
            before = now
        return verdicts, seconds

    def check(self) -> None:  # noqa: B027 - most need nothing
        """Raises what would keep it from working on this machine, before anything runs."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Frees what it holds (a child process, a model); it may be used again."""


_HELPERS = (
    *("steps", "verify", "combine", "latex", "latex_worker", "plain", "arithmetic"),
    *("waves", "measured", "measured_by_sql", "forced", "reader", "choices", "cache", "compared"),
    *("expression", "rows", "human", "json_text", "method", "finals"),
)
verifiers: Registry[type[Verifier]] = Registry("score", not_methods=_HELPERS)


def make(scorer: Scorer) -> Verifier:
    """The verifier of a spec entry. SpecError for an unknown one, or for a parameter that it does not have or cannot use."""
    assert scorer.verifier is not None
    method = verifiers.load(scorer.verifier)
    return method(validated(method.Params, scorer.params, f"score ({scorer.column}): params", f"the verifier {scorer.verifier!r}"))


def version(scorer: Scorer, verifier: Verifier) -> str:
    """16 hex digits over the method, its revision and its parameters: what `scorer_version` holds."""
    return digest(scorer.verifier, verifier.revision, verifier.params.model_dump(mode="json"))


def columns(spec: Spec) -> list[str]:
    """The columns of `scored` that the entries of `score` fill, those of `measure` left out."""
    from engine.score.measures import columns_of

    found: list[str] = []
    for scorer in spec.score:
        found += [scorer.column] if scorer.verifier else columns_of(scorer)
    return found


def check(spec: Spec) -> None:
    """SpecError when a scorer is unknown, its parameters are wrong, it lacks a reference, or `combine` cannot work."""
    from engine.score import measures, roles
    from engine.score.combine import check_combine, check_waves
    from engine.score.expression import Expression
    from engine.score.waves import judged

    taken = {*TABLES["generations"].schema.names, "verdict"}
    for column in columns(spec):
        if column in taken:
            raise SpecError(f"score ({column}): `scored` already has a column of this name", hint="give the scorer another `name`")
    for scorer in spec.score:
        if scorer.measure:
            measures.check_per_answer(scorer)
            continue
        verifier = make(scorer)
        verifier.check()
        if verifier.references and spec.prompts.fields.reference is None:
            raise SpecError(
                f"score ({scorer.column}): {scorer.verifier} compares with a reference, and the spec names no column for it",
                hint="set prompts.fields.reference",
            )
    roles.check(spec)
    if spec.evaluate.combine:
        try:
            check_combine(spec.evaluate.combine, columns(spec))
        except SpecError as error:
            raise SpecError(f"evaluate.{error.message}", hint=error.hint) from error
    if spec.combine:
        check_combine(spec.combine, columns(spec))
        if judged(spec):
            check_waves(Expression.of(spec))
    elif spec.score and spec.score[0].column not in columns(spec):
        raise SpecError(
            f"score ({spec.score[0].column}): it has several columns, {columns(spec)}", hint="say with `combine` what the score is"
        )
