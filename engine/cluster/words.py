"""Words of a text, and the words that say little."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

TOKEN = re.compile(r"\w+|[^\w\s]")


def tokens(text: str) -> list[str]:
    """Words (letters, digits, underscores) and single signs, in lower case, after Unicode's NFKC."""
    return TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


@cache
def stop_words() -> frozenset[str]:
    """The words of stop_words.txt."""
    lines = Path(__file__).with_name("stop_words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())
