"""How alike two texts are: the same but for case and punctuation, or by their longest common subsequence of words (Rouge-L).

Rouge-L: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004. Words and F are those of the package rouge-score
(google-research/google-research), which takes 50 times as long and more (benchmarks/rouge.py); its stemmer is NLTK's, which
departs from Porter's in a few words ("dies"). Words here are of any script, there of ASCII letters and digits alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

WORD = re.compile(r"[^\W_]+")
PUNCTUATION = re.compile(r"[^\w\s]|_")
SHORT = 3  # words up to this length are not stemmed


def normalised(text: str) -> str:
    """Lower case, without punctuation, single blanks: "Yes." and "yes" are the same, but so are "-5" and "5"."""
    return " ".join(PUNCTUATION.sub("", text.lower()).split())


def words(text: str, stem: bool = True) -> list[str]:
    """The words that Rouge-L compares, in lower case; English endings are taken off (Porter) where `stem`."""
    found = WORD.findall(text.lower())
    return [stemmed(word) for word in found] if stem else found


def rouge_l(left: Sequence[str], right: Sequence[str]) -> float:
    """F of two lists of words: 2 l / (m + n) with the length l of their longest common subsequence; 0 where one is empty."""
    from rapidfuzz.distance import LCSseq

    if not left or not right:
        return 0.0
    return 2.0 * LCSseq.similarity(left, right) / (len(left) + len(right))


@lru_cache(maxsize=1 << 16)
def stemmed(word: str) -> str:
    """An English word of more than 3 letters without its ending (Porter); any other as it is."""
    return _stemmer().stemWord(word) if len(word) > SHORT and word.isascii() else word


@lru_cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("porter")
