"""Does the answer match a regular expression, and is what one of its groups found the reference?"""

from __future__ import annotations

import re

from pydantic import Field, field_validator, model_validator

from engine.score import ERROR, RIGHT, UNPARSEABLE, WRONG, Answer, Params, Verdict, Verifier, verifiers
from engine.score.exact import compiled


class RegexParams(Params):
    pattern: str = Field(..., description="regular expression, searched for anywhere in the answer")
    group: int | str | None = Field(None, description="group (number or name) to compare with the reference; none: a match is enough")

    _pattern = field_validator("pattern")(compiled)

    @model_validator(mode="after")
    def _has_group(self) -> RegexParams:
        pattern = re.compile(self.pattern)
        known = [*range(pattern.groups + 1), *pattern.groupindex]
        if self.group is not None and self.group not in known:
            raise ValueError(f"pattern {self.pattern!r} has no group {self.group!r}; it has {known}")
        return self


@verifiers.register("regex")
class Regex(Verifier):
    """Without `group`: right 1.0 for a match, else wrong 0.0. With it: right, wrong, or unparseable 0.0 where nothing matches."""

    Params = RegexParams

    def __init__(self, params: RegexParams) -> None:
        super().__init__(params)
        self.references = params.group is not None
        self._pattern = re.compile(params.pattern)

    def verify(self, answer: Answer) -> Verdict:
        response, reference = answer.response, answer.reference
        match = self._pattern.search(response)
        group = self.params.group
        if group is None:
            return Verdict(1.0, RIGHT) if match else Verdict(0.0, WRONG, f"no match of {self._pattern.pattern!r}")
        if match is None:
            return Verdict(0.0, UNPARSEABLE, f"no match of {self._pattern.pattern!r}")
        if reference is None:
            return Verdict(0.0, ERROR, "there is no reference to compare with")
        found = (match[group] or "").strip()
        if found == reference.strip():
            return Verdict(1.0, RIGHT)
        return Verdict(0.0, WRONG, f"found {found[:80]!r}, expected {reference[:80]!r}")
