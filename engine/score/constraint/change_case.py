"""Instructions about capitals and small letters."""

from __future__ import annotations

from pydantic import Field

from engine.score.constraint import Instruction, Relation, amiss, detector, instruction
from engine.score.constraint.text import Text


def _not_english(text: Text) -> str | None:
    found = text.language
    return None if found in (None, "en") else f"found {detector.names()[found]}, expected English"


@instruction("change_case:capital_word_frequency")
class CapitalWordFrequency(Instruction):
    """At least, or less than, so many words all in capitals, see Text.capitals."""

    capital_frequency: int = Field(..., ge=0, description="the bound")
    capital_relation: Relation = Field(..., description="how the count stands to the bound")

    def failure(self, text: Text) -> str | None:
        return amiss(text.capitals, self.capital_relation, self.capital_frequency, "words in capitals")


@instruction("change_case:english_capital")
class EnglishCapital(Instruction):
    """English without small letters. The language is told from the text in small letters.

    langdetect, which IFEval asks, finds nothing to go by in longer words that are all in capitals, and then IFEval's code lets
    any language pass.
    """

    def failure(self, text: Text) -> str | None:
        if not text.plain.isupper():
            return "has small letters" if any(map(str.islower, text.plain)) else "has no letters"
        return _not_english(text)


@instruction("change_case:english_lowercase")
class EnglishLowercase(Instruction):
    """English without capitals."""

    def failure(self, text: Text) -> str | None:
        if not text.plain.islower():
            return "has capitals" if any(map(str.isupper, text.plain)) else "has no letters"
        return _not_english(text)
