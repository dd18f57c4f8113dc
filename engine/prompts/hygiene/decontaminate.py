"""The rule `decontaminate`: prompts that hold an evaluation item go.

Source: Lambert et al., "TULU 3", arXiv 2411.15124, section on decontamination: 8-word n-grams; a prompt goes when it covers more than
half of an item's words; an evaluation set is spoilt when more than 2% of its items are matched. How much is covered: `overlap`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.prompts.hygiene.overlap import Index
from engine.prompts.hygiene.rule import Drop, Row, Scene
from engine.prompts.hygiene.suites import Item, items
from engine.spec import Decontaminate, Prompts


def decontaminate(rows: list[Row], settings: Decontaminate, prompts: Prompts, scene: Scene) -> list[Drop]:
    """Drops rows with a user turn whose best score is above the threshold. `detail` gets items and matched items of every set."""
    against = items(settings, prompts, scene.spec_path.parent, scene.held)
    index = Index([item.texts for item in against], settings.ngram)
    # each user turn is a document of its own
    turns = [(place, message["content"]) for place, row in enumerate(rows) for message in row["messages"] if message["role"] == "user"]
    scene.progress.begin("decontamination", len(turns), unit="prompts")
    matches = index.match([text for _, text in turns], scene.progress.advance)
    scene.detail["decontaminate"] = _report([item.suite for item in against], matches.item_share > settings.threshold, settings, scene)
    best: dict[int, tuple[float, int]] = {}
    for turn in np.flatnonzero(matches.share > settings.threshold):
        place, found = turns[turn][0], (float(matches.share[turn]), -int(matches.item[turn]))
        best[place] = max(best.get(place, found), found)
    return [_drop(place, share, -item, against, settings) for place, (share, item) in sorted(best.items())]


def _drop(place: int, share: float, item: int, against: list[Item], settings: Decontaminate) -> Drop:
    found = against[item]
    reason = f"covers {share:.3f} of the words of an item of {found.suite} with {settings.ngram}-word n-grams"
    return Drop(place, reason, value=share, twin_id=found.item_id, suite=found.suite)


def _report(suites: list[str], matched: np.ndarray, settings: Decontaminate, scene: Scene) -> dict[str, dict[str, Any]]:
    """Of each evaluation set: its items, those that some prompt covers beyond the threshold, their share, whether that is too much."""
    report, names = {}, np.array(suites, dtype=object)
    for name in dict.fromkeys(suites):
        own = matched[names == name]
        count, share = int(own.sum()), int(own.sum()) / len(own)
        report[name] = {"items": len(own), "matched": count, "share": share, "over_limit": share > settings.limit}
        if share > settings.limit:
            of = f"{count:,} of {len(own):,} items of {name} ({share:.1%}, more than {settings.limit:.0%})"
            scene.progress.note(f"  hygiene: train prompts hold {of}; prompts_dropped says which")
    return report
