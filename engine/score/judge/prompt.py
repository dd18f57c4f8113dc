"""What a judge is asked: a YAML file with the question, how the reply is read, and which numbers it may give.

about: one line
compares: false             # true: two answers {first} and {second}; the number is how much better the first is, 0 to 1
system: ...                 # optional
question: ...               # with {question}, {answer} (or {first}, {second}), and perhaps {reference} and {criterion}
read: text                  # or logprobs: the number is the mean of `values`, weighted by the words' probabilities
parse: 'Score: (\\d+)'       # regular expression; its group is a number in `range` or a word of `values`
match: last                 # which match counts
range: [1, 10]
values: {A: 1, B: 0}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from engine.errors import SpecError
from engine.params import Params, validated
from engine.registry import nearest
from engine.score.choices import filled
from engine.yamlfile import read_yaml

FOLDER = Path(__file__).with_name("prompts")
NAMES = ("question", "answer", "first", "second", "reference", "criterion")


class Prompt(Params):
    """A prompt file."""

    about: str
    question: str
    system: str | None = None
    compares: bool = False
    read: Literal["text", "logprobs"] = "text"
    parse: str | None = None
    match: Literal["last", "first"] = "last"
    range: tuple[float, float] | None = None
    values: dict[str, float] = Field({})

    @model_validator(mode="after")
    def _fits(self) -> Prompt:
        names = self.names
        lost = [name for name in (("question", "first", "second") if self.compares else ("question", "answer")) if name not in names]
        if lost:
            raise ValueError(f"question: lacks {' and '.join(f'{{{name}}}' for name in lost)}")
        allowed = set(NAMES) - ({"answer"} if self.compares else {"first", "second"})
        if odd := sorted(names - allowed):
            raise ValueError(f"question: no such name {{{odd[0]}}}; {nearest(odd[0], sorted(allowed))}")
        if (self.range is None) == (not self.values):
            raise ValueError("give either `range` or `values`: which numbers the judge may give")
        if self.range and not self.range[0] < self.range[1]:
            raise ValueError(f"range: expected [lowest, highest], found {list(self.range)}")
        if self.parse is None and not self.values:
            raise ValueError("parse: needed to find the number in what the judge writes")
        if self.parse is not None and re.compile(self.parse).groups != 1:
            raise ValueError(f"parse: expected one group around the number or word, found {re.compile(self.parse).groups}")
        if self.compares and not all(0 <= value <= 1 for value in (self.range or self.values.values())):
            raise ValueError("a prompt that compares gives numbers from 0 (the second is better) to 1 (the first is)")
        words = [word.casefold() for word in self.values]
        if len(set(words)) < len(words) or len(words) == 1:
            raise ValueError(f"values: expected two or more different words, found {list(self.values)}")
        return self

    @property
    def names(self) -> set[str]:
        """The {names} that it asks for."""
        return set(re.findall(r"\{(\w+)\}", f"{self.system or ''}\n{self.question}"))

    def messages(self, values: Mapping[str, str]) -> tuple[dict[str, str], ...]:
        """The chat that the judge gets."""
        asked = {"role": "user", "content": filled(self.question, values)}
        return ({"role": "system", "content": filled(self.system, values)}, asked) if self.system else (asked,)


def names() -> list[str]:
    """Every shipped prompt."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find(name: str, spec_path: Path) -> Path:
    """The file of a prompt: beside the spec first, then among the shipped ones. SpecError with the nearest name where there is none."""
    for path in (spec_path.parent / name, FOLDER / f"{name}.yaml"):
        if path.is_file():
            return path
    raise SpecError(f"judge: no prompt {name!r}", where=str(spec_path), hint=f"{nearest(name, names())}, or a YAML file beside the spec")


def load(name: str, spec_path: Path) -> Prompt:
    """The prompt called `name`. SpecError for a file that is none."""
    path = find(name, spec_path)
    return _load(path, path.stat().st_mtime_ns)


@lru_cache
def _load(path: Path, changed: int) -> Prompt:
    try:
        return validated(Prompt, read_yaml(path).values, "prompt", f"the prompt {path.stem!r}")
    except (SpecError, re.error) as error:
        text = error.message if isinstance(error, SpecError) else f"prompt.parse: no regular expression: {error}"
        raise SpecError(text, where=str(path)) from error
