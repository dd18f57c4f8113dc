"""Instructions about punctuation marks."""

from __future__ import annotations

from engine.score.constraint import Instruction, instruction
from engine.score.constraint.text import Text


@instruction("punctuation:no_comma")
class NoComma(Instruction):
    """No comma anywhere."""

    def failure(self, text: Text) -> str | None:
        count = text.plain.count(",")
        return f"found {count} commas, expected none" if count else None
