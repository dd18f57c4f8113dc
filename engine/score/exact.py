"""Is the answer, or the part of it that a pattern finds, the same text as the reference?"""

from __future__ import annotations

import re
from collections import deque

from pydantic import Field, field_validator

from engine.score import ERROR, RIGHT, UNPARSEABLE, WRONG, Answer, Params, Verdict, Verifier, verifiers


def compiled(text: str | None) -> str | None:
    """`text` if it is a regular expression (or None); a ValueError that says what is wrong with it otherwise."""
    if text is not None:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"not a regular expression ({error}): {text!r}") from error
    return text


def last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The last of a pattern's matches in a text."""
    found = deque(pattern.finditer(text), maxlen=1)
    return found[0] if found else None


class ExactParams(Params):
    strip: bool = Field(True, description="leave out white space at both ends")
    lower: bool = Field(False, description="compare without case")
    pattern: str | None = Field(None, description="what counts is the last match of this regular expression (its first group, if any)")

    _pattern = field_validator("pattern")(compiled)


@verifiers.register("exact")
class Exact(Verifier):
    """right 1.0, wrong 0.0; unparseable 0.0 when the pattern finds nothing."""

    extracts = True
    Params = ExactParams

    def __init__(self, params: ExactParams) -> None:
        super().__init__(params)
        self._pattern = re.compile(params.pattern) if params.pattern else None

    def verify(self, answer: Answer) -> Verdict:
        reference, text = answer.reference, self._found(answer.response)
        if reference is None:
            return Verdict(0.0, ERROR, "there is no reference to compare with")
        if text is None:
            assert self._pattern
            return Verdict(0.0, UNPARSEABLE, f"pattern {self._pattern.pattern!r} finds nothing")
        if self._plain(text) == self._plain(reference):
            return Verdict(1.0, RIGHT)
        return Verdict(0.0, WRONG, f"found {text[:80]!r}, expected {reference[:80]!r}")

    def final(self, answer: Answer) -> str | None:
        """What it compares; None where that is empty."""
        text = self._found(answer.response)
        return None if text is None else self._plain(text) or None

    def _found(self, response: str) -> str | None:
        """The part of an answer that counts."""
        if not self._pattern:
            return response
        match = last_match(self._pattern, response)
        if match is None:
            return None
        return (match[1] or "") if match.re.groups else match[0]

    def _plain(self, text: str) -> str:
        text = text.strip() if self.params.strip else text
        return text.casefold() if self.params.lower else text
