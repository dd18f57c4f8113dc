"""A text with what the instructions measure of it, each measured once."""

from __future__ import annotations

import re
from functools import cached_property

from engine.score.constraint import detector, sentences

_WORDS = re.compile(r"\w+")
_BLANKS = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}
# where NLTK's word_tokenize cuts a text; commas and colons stay where a digit follows
_CUTS = re.compile(r"[\s;@#$%&?!*`()\[\]{}<>\"“”„«»‘’\u2012-\u2015]+|\.{2,}|--+|[,:](?!\d)|''|(?<!\w)'(?=\w)(?!(?i:re|ve|ll|m|t|s|d|n)\b)")
# what it then makes two words: IT'S, CAN'T, CANNOT
_CLITIC = re.compile(r"[^'](?:'S|'M|'D|'LL|'RE|'VE|N'T)\.?$")
_CONTRACTION = re.compile(r"\b(?:CANNOT|GIMME|GONNA|GOTTA|LEMME|WANNA|D'YE|MORE'N)\b|^'T(?:IS|WAS)\b")


class Text:
    """An answer, or a variant of one. `plain` is the text as it is."""

    def __init__(self, plain: str) -> None:
        self.plain = plain

    @cached_property
    def lower(self) -> str:
        """The text without capitals."""
        return self.plain.lower()

    @cached_property
    def words(self) -> int:
        r"""Runs of letters, digits and underscores (`\w+`), as NLTK's RegexpTokenizer counts them for IFEval."""
        if self.plain.isascii():  # three times as fast, and the same
            return len(self.plain.translate(_BLANKS).split())
        return len(_WORDS.findall(self.plain))

    @cached_property
    def sentences(self) -> int:
        """Sentences by Punkt, see engine/score/constraint/sentences.py."""
        return sentences.count(self.plain)

    @cached_property
    def capitals(self) -> int:
        """Words all in capitals, among them I and A, words with digits, and each half of I'M.

        IFEval counts the words of NLTK's word_tokenize. This cuts where that does without asking first where sentences end, which
        NLTK needs for final periods only; of 6,000 texts full of odd punctuation it counts 99% alike.
        """
        # most words are small throughout, and need no cutting
        words = _CUTS.split(" ".join([word for word in self.plain.split() if not word.islower()]))
        found = [word for word in words if word.isupper()]
        clitics = sum(1 for word in words if "'" in word and _CLITIC.search(word))
        return len(found) + clitics + sum(1 for word in found if _CONTRACTION.search(word))

    @cached_property
    def language(self) -> str | None:
        """The code of its language, None where it has no letter."""
        return detector.language(self.plain)
