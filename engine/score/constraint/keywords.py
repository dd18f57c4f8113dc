"""Instructions about words that must, may or must not occur. Case does not count."""

from __future__ import annotations

import re
from functools import cached_property

from pydantic import Field, field_validator

from engine.score.constraint import Instruction, Matching, Relation, amiss, instruction
from engine.score.constraint.text import Text


@instruction("keywords:existence")
class Existence(Matching):
    """Every keyword occurs, be it inside a longer word."""

    keywords: tuple[str, ...] = Field(..., min_length=1, description="what must occur")

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(self.expression(word), re.IGNORECASE) for word in self.keywords)

    def failure(self, text: Text) -> str | None:
        lost = [word for word, pattern in zip(self.keywords, self.patterns, strict=True) if not pattern.search(text.plain)]
        return f"lacks {', '.join(map(repr, lost))}" if lost else None


@instruction("keywords:frequency")
class Frequency(Matching):
    """A keyword occurs at least, or less than, so often; occurrences inside longer words count."""

    keyword: str = Field(..., min_length=1, description="what is counted")
    frequency: int = Field(..., ge=0, description="the bound")
    relation: Relation = Field(..., description="how the count stands to the bound")

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        return (re.compile(self.expression(self.keyword.strip()), re.IGNORECASE),)

    def failure(self, text: Text) -> str | None:
        count = len(self.patterns[0].findall(text.plain))
        return amiss(count, self.relation, self.frequency, f"times {self.keyword!r}")


@instruction("keywords:forbidden_words")
class ForbiddenWords(Matching):
    """None of the words occurs as a word of its own."""

    forbidden_words: tuple[str, ...] = Field(..., min_length=1, description="what must not occur")

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(rf"\b{self.expression(word)}\b", re.IGNORECASE) for word in self.forbidden_words)

    def failure(self, text: Text) -> str | None:
        found = [word for word, pattern in zip(self.forbidden_words, self.patterns, strict=True) if pattern.search(text.plain)]
        return f"has {', '.join(map(repr, found))}" if found else None


@instruction("keywords:letter_frequency")
class LetterFrequency(Instruction):
    """A letter, or any other character such as # or !, occurs at least, or less than, so often."""

    letter: str = Field(..., description="the character that is counted")
    let_frequency: int = Field(..., ge=0, description="the bound")
    let_relation: Relation = Field(..., description="how the count stands to the bound")

    @field_validator("letter")
    @classmethod
    def _single(cls, letter: str) -> str:
        if len(letter.strip()) != 1:
            raise ValueError("expected one character")
        return letter.strip().lower()

    def failure(self, text: Text) -> str | None:
        return amiss(text.lower.count(self.letter), self.let_relation, self.let_frequency, f"times the letter {self.letter!r}")
