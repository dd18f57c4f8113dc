"""The rule `near`: of prompts whose shingles are nearly the same, the first stays.

Source: MinHash near duplicates as in github.com/ChenghaoMou/text-dedup (`minhash.py`): candidates, verified by exact Jaccard
similarity, connected, the first of each component kept. Candidates come from all pairs that can reach the threshold (`prefix`, exact)
or from MinHash bands (`minhash`, as there: with its optimal bands it finds half of the pairs that lie right at the threshold). Unlike
there, verified pairs alone connect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.prompts.hygiene.buckets import Buckets, by_bands, by_prefix, optimal_bands
from engine.prompts.hygiene.rule import Drop, Row, Scene
from engine.prompts.hygiene.shingles import Sets, shingles
from engine.prompts.hygiene.texts import asked
from engine.spec import Near


@dataclass
class Found:
    """Near duplicates among n texts. `first` int64 (n,): the first text of each text's component, itself where it stays.
    `similarity` (n,): Jaccard similarity to it. `compared`: pairs that were verified. `skipped`: pairs of giant buckets that were
    not looked at."""

    first: np.ndarray
    similarity: np.ndarray
    compared: int
    skipped: int


def near(rows: list[Row], settings: Near, scene: Scene) -> list[Drop]:
    """Drops near duplicates of earlier rows."""
    scene.progress.begin("near duplicates", len(rows), unit="prompts")
    found = duplicates([asked(row) for row in rows], settings, scene.progress.advance)
    drops = []
    for index in np.flatnonzero(found.first != np.arange(len(rows))):
        twin, value = rows[found.first[index]], float(found.similarity[index])
        how = "" if value >= settings.threshold else ", through others between them"
        reason = f"Jaccard similarity {value:.3f} of {settings.ngram}-word shingles{how}"
        drops.append(Drop(int(index), reason, value=value, twin_id=twin["prompt_id"]))
    scene.detail["near"] = {"pairs_compared": found.compared, "pairs_skipped": found.skipped}
    if found.skipped:
        scene.progress.note(
            f"hygiene: {found.skipped:,} pairs of prompts that share very common words were not compared; raise prompts.hygiene.near.reach"
        )
    return drops


def duplicates(texts: Sequence[str], settings: Near, advance: Callable[[int], None] = lambda rows: None) -> Found:
    """Components of texts linked by a Jaccard similarity of `threshold` or more, chains included."""
    hashes = shingles(texts, settings.ngram, advance)
    join = Join(len(texts), settings.threshold, settings.reach)
    bands = by_bands(hashes, *bands_of(settings)) if settings.candidates == "minhash" else []
    sets = Sets.of(hashes)
    for buckets in bands if settings.candidates == "minhash" else [by_prefix(sets, settings.threshold)]:
        join.add(buckets, sets)
    similarity = np.ones(len(texts))
    moved = np.flatnonzero(join.first != np.arange(len(texts)))
    similarity[moved] = sets.jaccard(moved, join.first[moved])
    return Found(join.first, similarity, join.compared, join.skipped)


def bands_of(settings: Near) -> tuple[int, int]:
    """(bands, rows) of MinHash: as given, what is not given by division, or the best of all."""
    bands, rows = settings.bands, settings.rows
    if bands is None and rows is None:
        return optimal_bands(settings.threshold, settings.permutations)
    return bands or settings.permutations // (rows or 1), rows or settings.permutations // (bands or 1)


class Join:
    """Verifies pairs that share a bucket and connects those that are similar; pairs already connected are passed over."""

    def __init__(self, n: int, threshold: float, reach: int) -> None:
        self.first = np.arange(n)
        self.threshold, self.reach = threshold, reach
        self.compared = self.skipped = 0

    def add(self, buckets: Buckets, sets: Sets) -> None:
        """Every member is compared with the next in its bucket, then with the one after, and so on, up to `reach` places away."""
        bucket, member, away, prune = buckets.bucket, buckets.member, 1, 2
        while len(bucket) > away and away <= self.reach:
            together = bucket[away:] == bucket[:-away]
            if not together.any():
                return
            self._verify(member[:-away][together], member[away:][together], sets)
            away += 1
            if away >= prune:
                bucket, member, prune = *self._open(bucket, member, away), 2 * prune
        bucket, member = self._open(bucket, member, away)
        _, sizes = np.unique(bucket, return_counts=True)
        rest = sizes - away + 1
        self.skipped += int((rest * (rest - 1) // 2).sum())

    def _open(self, bucket: np.ndarray, member: np.ndarray, away: int) -> tuple[np.ndarray, np.ndarray]:
        """Buckets with pairs `away` places apart that are not all connected yet."""
        if not len(bucket):
            return bucket, member
        starts = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])
        sizes = np.diff(np.r_[starts, len(bucket)])
        first = self.first[member]
        keep = np.repeat((sizes > away) & (np.minimum.reduceat(first, starts) != np.maximum.reduceat(first, starts)), sizes)
        return bucket[keep], member[keep]

    def _verify(self, left: np.ndarray, right: np.ndarray, sets: Sets) -> None:
        apart = self.first[left] != self.first[right]
        small, large = np.minimum(sets.sizes[left], sets.sizes[right]), np.maximum(sets.sizes[left], sets.sizes[right])
        worth = apart & (small / large >= self.threshold)
        keys = np.unique(left[worth].astype(np.int64) << 32 | right[worth])
        left, right = keys >> 32, keys & 0xFFFFFFFF
        self.compared += len(keys)
        alike = sets.jaccard(left, right) >= self.threshold
        self._connect(left[alike], right[alike])

    def _connect(self, left: np.ndarray, right: np.ndarray) -> None:
        """Hooks the larger first onto the smaller until both ends of every pair have the same; so the smallest number is the first."""
        while len(left):
            one, other = self.first[left], self.first[right]
            apart = one != other
            left, right, one, other = left[apart], right[apart], one[apart], other[apart]
            np.minimum.at(self.first, np.maximum(one, other), np.minimum(one, other))
            while ((again := self.first[self.first]) != self.first).any():
                self.first = again
