"""The rule `length`: prompts with too few or too many words go. A word is what stands between blanks."""

from __future__ import annotations

from engine.prompts.hygiene.rule import Drop, Row
from engine.prompts.hygiene.texts import asked
from engine.spec import Hygiene


def length(rows: list[Row], settings: Hygiene) -> list[Drop]:
    """Drops rows with fewer than `min_words` or more than `max_words` words; system messages do not count."""
    drops = []
    for index, row in enumerate(rows):
        words = len(asked(row).split())
        if words < settings.min_words:
            drops.append(Drop(index, f"{words} words, fewer than {settings.min_words}", value=float(words)))
        elif settings.max_words is not None and words > settings.max_words:
            drops.append(Drop(index, f"{words} words, more than {settings.max_words}", value=float(words)))
    return drops
