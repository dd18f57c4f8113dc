"""Instructions about parts that an answer must have."""

from __future__ import annotations

import re
from functools import cached_property

from pydantic import Field

from engine.score.constraint import Instruction, Matching, amiss, instruction
from engine.score.constraint.text import Text

# two markers may be written with spaces between their letters
_SPACED = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}


def placeholders(text: str) -> int:
    """How many [names in square brackets] there are, none over a line's end: one pass, however many brackets stay open."""
    count = 0
    for line in text.split("\n"):
        start = line.find("[")
        while start >= 0 and (end := line.find("]", start)) >= 0:
            count += 1
            start = line.find("[", end)
    return count


@instruction("detectable_content:number_placeholders")
class NumberPlaceholders(Instruction):
    """At least so many placeholders such as [address]."""

    num_placeholders: int = Field(..., ge=0, description="how many")

    def failure(self, text: Text) -> str | None:
        return amiss(placeholders(text.plain), "at least", self.num_placeholders, "[placeholders]")


@instruction("detectable_content:postscript")
class Postscript(Matching):
    """The marker of a postscript occurs, without case; as in IFEval's code, not only at the start of a line or at the end."""

    postscript_marker: str = Field(..., min_length=1, description="such as P.S. or P.P.S")

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        marker = self.postscript_marker.strip()
        return (re.compile(_SPACED.get(marker) or self.expression(marker.lower())),)

    def failure(self, text: Text) -> str | None:
        return None if self.patterns[0].search(text.lower) else f"lacks a postscript with {self.postscript_marker!r}"
