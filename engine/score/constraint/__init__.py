"""Verifiable instructions: what an answer must do that a rule can check. A new one is a class in the file of its family.

An instruction is called `<family>:<name>`, such as `keywords:existence`; its class stands in `<family>.py`, its fields are its
arguments (the `kwargs` of a prompt). The 25 instructions here and their rules are those of IFEval (Zhou et al. 2023,
arXiv 2311.07911; google-research/instruction_following_eval); where one differs from that code, its docstring says so.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.errors import SpecError
from engine.params import validated
from engine.registry import nearest
from engine.score.constraint.text import Text

Relation = Literal["less than", "at least"]
_HELPERS = {"__init__", "text", "detector", "sentences"}
_KINDS: dict[str, type[Instruction]] = {}
K = TypeVar("K", bound="type[Instruction]")


class Instruction(BaseModel, ABC):
    """One instruction with its arguments. Keys of a prompt's kwargs that it does not have are errors, null ones are left out.

    IFEval's code draws an argument at random where it is null; here a missing argument is an error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @abstractmethod
    def failure(self, text: Text) -> str | None:
        """What was found instead of what was asked for, in words; None where the answer follows the instruction."""


class Matching(Instruction):
    """An instruction whose words are regular expressions, as in IFEval's code, or plain text where `literal` says so."""

    literal: bool = Field(False, description="the words are plain text, not regular expressions")

    @cached_property
    @abstractmethod
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """Its words, compiled."""

    def expression(self, word: str) -> str:
        """A word as the regular expression that finds it. ValueError where it is none."""
        if self.literal:
            return re.escape(word)
        try:
            re.compile(word)
        except re.error as error:
            raise ValueError(f"{word!r} is not a regular expression ({error}); set literal: true to look for this very text") from error
        return word

    @model_validator(mode="after")
    def _compiles(self) -> Matching:
        assert self.patterns is not None
        return self


def instruction(name: str) -> Callable[[K], K]:
    """Class decorator that files an instruction under its full name."""

    def file(kind: K) -> K:
        _KINDS[name] = kind
        return kind

    return file


@lru_cache(maxsize=1)
def kinds() -> dict[str, type[Instruction]]:
    """Every instruction by name; the families are the files of this folder."""
    for file in sorted(Path(__file__).parent.glob("*.py")):
        if file.stem not in _HELPERS:
            import_module(f"{__name__}.{file.stem}")
    return dict(sorted(_KINDS.items()))


def build(name: str, given: Any, literal: bool = False) -> Instruction:
    """The instruction called `name` with its arguments (a dict, or None). SpecError for what is unknown, missing or wrong.

    `literal` is what `Matching` instructions take where their arguments do not say it.
    """
    if name not in kinds():
        raise SpecError(f"no instruction {name!r}", hint=nearest(name, list(kinds())))
    kind, given = kinds()[name], {} if given is None else given
    if not isinstance(given, dict):
        raise SpecError(f"{name}: expected an object with its arguments, found {given!r:.80}")
    values = {key: value for key, value in given.items() if value is not None}
    if issubclass(kind, Matching):
        values.setdefault("literal", literal)
    return validated(kind, values, name, f"the instruction {name!r}")


def amiss(count: int, relation: Relation, bound: int, unit: str) -> str | None:
    """None where a count is `at least` or `less than` its bound, else what was found and expected."""
    if count < bound if relation == "less than" else count >= bound:
        return None
    return f"found {count} {unit}, expected {relation} {bound}"
