"""Instructions about the numbers of words, sentences and paragraphs."""

from __future__ import annotations

import re

from pydantic import Field, model_validator

from engine.score.constraint import Instruction, Relation, amiss, instruction
from engine.score.constraint.text import Text

_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_WORD_ENDS = re.compile("[.,?!'\"]")


@instruction("length_constraints:number_sentences")
class NumberSentences(Instruction):
    """At least, or less than, so many sentences by Punkt, see Text.sentences."""

    num_sentences: int = Field(..., ge=0, description="the bound")
    relation: Relation = Field(..., description="how the count stands to the bound")

    def failure(self, text: Text) -> str | None:
        return amiss(text.sentences, self.relation, self.num_sentences, "sentences")


@instruction("length_constraints:number_words")
class NumberWords(Instruction):
    r"""At least, or less than, so many words (`\w+`: don't are two)."""

    num_words: int = Field(..., ge=0, description="the bound")
    relation: Relation = Field(..., description="how the count stands to the bound")

    def failure(self, text: Text) -> str | None:
        return amiss(text.words, self.relation, self.num_words, "words")


@instruction("length_constraints:number_paragraphs")
class NumberParagraphs(Instruction):
    """Exactly so many paragraphs, cut at the markdown divider ***; only the first and the last part may be empty."""

    num_paragraphs: int = Field(..., ge=0, description="how many")

    def failure(self, text: Text) -> str | None:
        parts = _DIVIDER.split(text.plain)
        empty = [index for index, part in enumerate(parts) if not part.strip()]
        if any(0 < index < len(parts) - 1 for index in empty):
            return "an empty paragraph between two dividers ***"
        count = len(parts) - len(empty)
        return None if count == self.num_paragraphs else f"found {count} paragraphs between ***, expected {self.num_paragraphs}"


@instruction("length_constraints:nth_paragraph_first_word")
class NthParagraphFirstWord(Instruction):
    """Exactly so many paragraphs, cut at two line ends, of which the nth starts with a word.

    As in IFEval's code, empty paragraphs do not count, but the nth is looked up among all of them.
    """

    num_paragraphs: int = Field(..., ge=1, description="how many")
    nth_paragraph: int = Field(..., ge=1, description="the number of the paragraph, from 1")
    first_word: str = Field(..., min_length=1, description="its first word, without case")

    @model_validator(mode="after")
    def _within(self) -> NthParagraphFirstWord:
        if self.nth_paragraph > self.num_paragraphs:
            raise ValueError(f"nth_paragraph {self.nth_paragraph} is not among the {self.num_paragraphs} of num_paragraphs")
        return self

    def failure(self, text: Text) -> str | None:
        parts = text.plain.split("\n\n")
        count = sum(1 for part in parts if part.strip())
        if count != self.num_paragraphs:
            return f"found {count} paragraphs between empty lines, expected {self.num_paragraphs}"
        words = parts[self.nth_paragraph - 1].split(maxsplit=1)
        if not words:
            return f"paragraph {self.nth_paragraph} is empty"
        first = _WORD_ENDS.split(words[0].lstrip("'").lstrip('"'), maxsplit=1)[0].lower()
        if first == self.first_word.lower():
            return None
        return f"paragraph {self.nth_paragraph} starts with {first[:40]!r}, expected {self.first_word!r}"
