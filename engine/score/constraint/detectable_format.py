"""Instructions about markdown, JSON and set phrases."""

from __future__ import annotations

import json
import re
from functools import cached_property

from pydantic import Field

from engine.score.constraint import Instruction, Matching, amiss, instruction
from engine.score.constraint.text import Text

# a line that starts with one *, or with -
_BULLETS = (re.compile(r"^[^\S\n]*\*[^*].*$", re.MULTILINE), re.compile(r"^[^\S\n]*-", re.MULTILINE))
_HIGHLIGHT, _BOLD = re.compile(r"\*[^\n*]*\*"), re.compile(r"\*\*[^\n*]*\*\*")
_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FENCES = ("```json", "```Json", "```JSON", "```")


@instruction("detectable_format:number_bullet_lists")
class NumberBulletLists(Instruction):
    """Exactly so many bullet points, marked by * or -."""

    num_bullets: int = Field(..., ge=0, description="how many")

    def failure(self, text: Text) -> str | None:
        count = sum(len(pattern.findall(text.plain)) for pattern in _BULLETS)
        return None if count == self.num_bullets else f"found {count} bullet points, expected {self.num_bullets}"


@instruction("detectable_format:constrained_response")
class ConstrainedResponse(Instruction):
    """One of `My answer is yes.`, `no.`, `maybe.` occurs; as in IFEval's code, more may stand around it."""

    def failure(self, text: Text) -> str | None:
        return None if any(option in text.plain for option in _OPTIONS) else "has none of 'My answer is yes.', 'no.', 'maybe.'"


@instruction("detectable_format:number_highlighted_sections")
class NumberHighlightedSections(Instruction):
    """At least so many *highlighted* parts; as in IFEval's code, what stands in **two asterisks** counts too."""

    num_highlights: int = Field(..., ge=0, description="how many")

    def failure(self, text: Text) -> str | None:
        count = sum(1 for part in _HIGHLIGHT.findall(text.plain) if part.strip("*").strip())
        count += sum(1 for part in _BOLD.findall(text.plain) if part[2:-2].strip())
        return amiss(count, "at least", self.num_highlights, "highlighted parts")


@instruction("detectable_format:multiple_sections")
class MultipleSections(Matching):
    """At least so many sections, each marked by a word and a number, such as `Section 1`."""

    section_spliter: str = Field(..., min_length=1, description="the word (spelled as IFEval spells it)")
    num_sections: int = Field(..., ge=0, description="how many")

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        return (re.compile(rf"(?:{self.expression(self.section_spliter.strip())})\s?\d+"),)

    def failure(self, text: Text) -> str | None:
        count = sum(1 for _ in self.patterns[0].finditer(text.plain))
        return amiss(count, "at least", self.num_sections, f"sections marked by {self.section_spliter!r} and a number")


@instruction("detectable_format:json_format")
class JsonFormat(Instruction):
    """The whole answer is one JSON value (a bare number or string is one too), with or without a fence of ``` around it."""

    def failure(self, text: Text) -> str | None:
        value = text.plain.strip()
        for fence in _FENCES:
            value = value.removeprefix(fence)
        try:
            json.loads(value.removesuffix("```").strip())
        except (ValueError, RecursionError) as error:
            return f"not JSON: {error}"
        return None


@instruction("detectable_format:title")
class Title(Instruction):
    """A title in <<double angular brackets>>, on one line."""

    def failure(self, text: Text) -> str | None:
        for line in text.plain.split("\n"):
            start, end = line.find("<<"), line.rfind(">>")
            if 0 <= start < end - 2 and line[start : end + 2].lstrip("<").rstrip(">").strip():
                return None
        return "lacks a <<title>>"
