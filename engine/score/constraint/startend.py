"""Instructions about the start and the end of the answer."""

from __future__ import annotations

from pydantic import Field

from engine.score.constraint import Instruction, instruction
from engine.score.constraint.text import Text


@instruction("startend:end_checker")
class EndChecker(Instruction):
    """The answer ends with a phrase; case, and quotation marks around the answer, do not count."""

    end_phrase: str = Field(..., min_length=1, description="the phrase")

    def failure(self, text: Text) -> str | None:
        ending = text.plain.strip().strip('"')
        if ending.lower().endswith(self.end_phrase.strip().lower()):
            return None
        return f"ends with {ending[-40:]!r}, expected {self.end_phrase[-40:]!r}"


@instruction("startend:quotation")
class Quotation(Instruction):
    """The whole answer stands in double quotation marks."""

    def failure(self, text: Text) -> str | None:
        plain = text.plain.strip()
        return None if len(plain) > 1 and plain[0] == plain[-1] == '"' else "not in double quotation marks"
