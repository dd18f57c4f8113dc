"""Does the answer have the parts that a template asks for: tags, sections, patterns, length?"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator, model_validator

from engine.score import RIGHT, UNPARSEABLE, WRONG, Answer, Params, Verdict, Verifier, verifiers
from engine.score.exact import compiled

_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_ASKS = ("tags", "sections", "patterns", "forbidden", "max_characters", "max_words")


class FormatParams(Params):
    tags: tuple[str, ...] = Field((), description="names of tags, each of which stands exactly once as <name>...</name>, not nested")
    ordered: bool = Field(True, description="tags, and sections, stand in the order given")
    outside: bool = Field(False, description="text may stand outside of the tags (white space always may)")
    empty: bool = Field(False, description="a tag may hold nothing but white space")
    inside: dict[str, str] = Field({}, description="by tag, a regular expression that what it holds (stripped) must match as a whole")
    sections: tuple[str, ...] = Field((), description="regular expressions, each of which matches at the start of exactly one line")
    patterns: tuple[str, ...] = Field((), description="regular expressions, each of which is found somewhere")
    forbidden: tuple[str, ...] = Field((), description="regular expressions, none of which is found")
    max_characters: int | None = Field(None, ge=1, description="greatest length of the answer in characters")
    max_words: int | None = Field(None, ge=1, description="greatest number of words between white space")
    prefix: str = Field("", description="what the chat template has written before the answer, such as <think>; it belongs to the form")
    value: Literal["all", "share"] = Field("all", description="all: 1 where every requirement is met; share: share of requirements met")

    @field_validator("tags")
    @classmethod
    def _names(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [tag for tag in tags if not _NAME.fullmatch(tag)]
        if wrong or len(set(tags)) < len(tags):
            raise ValueError("expected different names of tags, without angle brackets")
        return tags

    @field_validator("inside")
    @classmethod
    def _compile_inside(cls, inside: dict[str, str]) -> dict[str, str]:
        for pattern in inside.values():
            compiled(pattern)
        return inside

    @field_validator("sections", "patterns", "forbidden")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            compiled(pattern)
        return patterns

    @model_validator(mode="after")
    def _asks(self) -> FormatParams:
        if not any(getattr(self, name) for name in _ASKS):
            raise ValueError(f"nothing is asked for; expected at least one of {', '.join(_ASKS)}")
        lost = [tag for tag in self.inside if tag not in self.tags]
        if lost:
            raise ValueError(f"inside: {', '.join(map(repr, lost))} not among the tags {list(self.tags)}")
        return self


@verifiers.register("format")
class Format(Verifier):
    """right 1.0 where every requirement is met, else wrong with each that is not; unparseable 0.0 for an empty answer.

    Each tag is a requirement, and so are each section, pattern and limit, the order of the tags and of the sections, and that no
    text stands outside of the tags. `value: share` gives the share of them that is met.
    """

    references = False
    Params = FormatParams

    def verify(self, answer: Answer) -> Verdict:
        if not answer.response.strip():
            return Verdict(0.0, UNPARSEABLE, "the answer is empty")
        text = self.params.prefix + answer.response
        found = [*self._tags(text), *self._sections(text), *self._patterns(text), *self._lengths(answer.response)]
        failures = [failure for failure in found if failure is not None]
        if not failures:
            return Verdict(1.0, RIGHT)
        value = (len(found) - len(failures)) / len(found) if self.params.value == "share" else 0.0
        return Verdict(value, WRONG, "; ".join(failures))

    def _tags(self, text: str) -> list[str | None]:
        """For each tag, for their order and for what is outside: None or what is wrong."""
        params, results, spans = self.params, list[str | None](), list[tuple[int, int]]()
        for tag in params.tags:
            opening, closing = f"<{tag}>", f"</{tag}>"
            opened, closed = text.count(opening), text.count(closing)
            start, end = text.find(opening), text.find(closing)
            if opened != 1 or closed != 1 or start > end:
                order = " the wrong way round" if opened == closed == 1 else ""
                results.append(f"{opening} stands {opened} times and {closing} {closed} times{order}, expected each once")
                continue
            spans.append((start, end + len(closing)))
            results.append(self._held(tag, text[start + len(opening) : end].strip()))
        if len(params.tags) > 1:
            results.append(self._order(spans))
        if params.tags and not params.outside:
            rest, position = [], 0
            for start, end in sorted(spans):
                rest.append(text[position:start])
                position = max(position, end)
            outside = " ".join("".join([*rest, text[position:]]).split())
            results.append(f"text outside of the tags: {outside[:60]!r}" if outside else None)
        return results

    def _held(self, tag: str, held: str) -> str | None:
        if not held and not self.params.empty:
            return f"<{tag}> is empty"
        pattern = self.params.inside.get(tag)
        if pattern is not None and not re.fullmatch(pattern, held, re.DOTALL):
            return f"<{tag}> holds {held[:60]!r}, expected a match of {pattern!r}"
        return None

    def _order(self, spans: list[tuple[int, int]]) -> str | None:
        if len(spans) < len(self.params.tags):
            return "the order of the tags cannot be told"
        placed = sorted(spans)
        if any(end > start for (_, end), (start, _) in pairwise(placed)):
            return "tags stand within one another"
        return "tags are not in the order " + ", ".join(self.params.tags) if self.params.ordered and spans != placed else None

    def _sections(self, text: str) -> list[str | None]:
        results, starts = list[str | None](), list[int]()
        for pattern in self.params.sections:
            found = [match.start() for match in re.finditer(rf"^(?:{pattern})", text, re.MULTILINE)]
            starts += found[:1]
            results.append(None if len(found) == 1 else f"{len(found)} lines start with {pattern!r}, expected 1")
        if self.params.ordered and len(self.params.sections) > 1:
            results.append(None if starts == sorted(starts) else "sections are not in the order given")
        return results

    def _patterns(self, text: str) -> list[str | None]:
        lost = [None if re.search(pattern, text) else f"no match of {pattern!r}" for pattern in self.params.patterns]
        found = [f"a match of {pattern!r}" if re.search(pattern, text) else None for pattern in self.params.forbidden]
        return [*lost, *found]

    def _lengths(self, response: str) -> list[str | None]:
        results: list[str | None] = []
        limits = ((self.params.max_characters, len(response), "characters"), (self.params.max_words, len(response.split()), "words"))
        for limit, length, unit in limits:
            if limit is not None:
                results.append(f"{length} {unit}, expected at most {limit}" if length > limit else None)
        return results
