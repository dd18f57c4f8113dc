"""The rule `cap`: of each source no more prompts than the cap, those that come first in a fixed hash order."""

from __future__ import annotations

from engine.ids import digest
from engine.prompts.groups import grouping
from engine.prompts.hygiene.rule import Drop, Row
from engine.spec import Hygiene


def cap(rows: list[Row], settings: Hygiene) -> list[Drop]:
    """Drops rows beyond `cap` a source. The order hangs on the prompt alone, so a file that grows moves as few as possible; `value`
    is how many prompts of its source came here."""
    if settings.cap is None:
        return []
    source = grouping(rows, settings.cap_by, "prompts.hygiene.cap_by")
    members: dict[str, list[int]] = {}
    for index in sorted(range(len(rows)), key=lambda index: digest("cap", rows[index]["prompt_id"])):
        members.setdefault(source(rows[index]), []).append(index)
    drops = []
    for name, indices in members.items():
        reason = f"{settings.cap_by} {name!r} has {len(indices)} prompts, {settings.cap} stay"
        drops += [Drop(index, reason, value=float(len(indices))) for index in indices[settings.cap :]]
    return drops
