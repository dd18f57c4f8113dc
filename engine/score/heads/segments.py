"""Where the segments of an answer end: sentences, lines, or steps (paragraphs)."""

from __future__ import annotations

import re
from typing import Literal

Unit = Literal["sentence", "line", "step"]
# A sentence ends with . ! ? or … (quotes and brackets may follow) before white space and something that can begin another one; a full
# stop after an abbreviation, an initial, or the number of a list item ends none. A line break always ends a sentence.
ENDS = re.compile(r"""[.!?…。！？]+["'”’)\]]*(?=\s+["'“‘(\[]*[^\sa-z])|(?<=[。！？])(?=\S)|(?=\n)""")
SHORT = re.compile(r"(?:\b(?i:mr|mrs|ms|dr|prof|st|vs|fig|eq|sec|cf|approx|e\.g|i\.e)|(?<![\w.])[A-Z]|(?:^|\n)\s*\d+)\.$")
SPLITS = {"line": re.compile(r"(?=\n)"), "step": re.compile(r"(?=\n[ \t]*\n)")}


def ends(text: str, unit: Unit) -> list[int]:
    """The end of each segment that has more than white space, as positions in `text`; the last is the end of the text.

    Segment i is the text from end i-1 to end i; a text without a word has none.
    """
    found: list[int] = []
    done = 0
    pattern = ENDS if unit == "sentence" else SPLITS[unit]
    for match in pattern.finditer(text):
        at = match.end()
        if unit == "sentence" and match[0].startswith(".") and SHORT.search(text[: match.start() + 1]):
            continue
        if text[done:at].strip():
            found.append(at)
            done = at
    if text[done:].strip():
        found.append(len(text))
    return [*found[:-1], len(text)] if found else []
