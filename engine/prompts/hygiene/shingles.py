r"""Prompts as sets of word n-grams (shingles), kept small: a shingle of one prompt alone can never be shared, so only its count stays.

Words are what `\w+` finds in the lowercased text, as in github.com/ChenghaoMou/text-dedup. A text of fewer words than a shingle,
which that leaves out, is one shingle made of all it has: such texts are near duplicates when their words are equal. A text
without any word counts by its characters. A shingle is a hash of 48 bits: two prompts of 120 words seem to share one that they do
not with a chance of 5 in 10^11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from engine.errors import StepError
from engine.prompts.hygiene.texts import Growing, Splitter, blocks, mixed, most_words

GAP = r"\W"
BLOCK = 128  # texts that are cut at a time
CHUNK = 1 << 15  # hashes that are looked at together
PARTS = 64  # slices of the range of hashes: what is sorted at a time is one of them
ALONE = np.uint32(2**28 - 1)  # a number beyond all that shared shingles get
PAIR_ITEMS = 1 << 15  # shingles of pairs that are compared at a time


@dataclass
class Hashes:
    """Shingles of texts, ascending and without doubles, one text after another: `high` uint32 and `low` uint16 are the halves of a
    hash; text i has those from starts[i] to starts[i + 1]."""

    high: np.ndarray
    low: np.ndarray
    starts: np.ndarray

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of texts that are worked on together."""
        count = len(self.starts) - 1
        yield from ((start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def shingles(texts: Sequence[str], n: int, advance: Callable[[int], None] = lambda rows: None) -> Hashes:
    """The shingles of texts."""
    splitter, lengths, most = Splitter(GAP), [np.zeros(1, dtype=np.int64)], most_words(texts)
    high, low = Growing(np.uint32, most), Growing(np.uint16, most)
    for _, block in blocks(texts, BLOCK):
        words = splitter.words(block)
        hashes, text, _ = words.grams(n)
        short = np.flatnonzero(words.lengths < n)
        if len(short):
            whole = [words.whole(i) if words.lengths[i] else _characters(block[i]) for i in short.tolist()]
            hashes, text = np.concatenate([hashes, np.array(whole, dtype=np.uint64)]), np.concatenate([text, short])
        keys = np.sort(text.astype(np.uint64) << np.uint64(48) | hashes >> np.uint64(16))
        keys = keys[np.r_[True, keys[1:] != keys[:-1]]]
        lengths.append(np.bincount((keys >> np.uint64(48)).astype(np.int64), minlength=len(block)))
        high.add(keys >> np.uint64(16))
        low.add(keys)
        advance(len(block))
    return Hashes(high.take(), low.take(), np.cumsum(np.concatenate(lengths)))


def _characters(text: str) -> int:
    return int.from_bytes(blake2b(text.strip().encode(), digest_size=8, person=b"characters").digest(), "little")


@dataclass(frozen=True)
class Sets:
    """Sets of shingles. `sizes` int64 (n,): shingles of each. `items` int32: those that some other set has too, as numbers; set i has
    those from starts[i] to starts[i + 1], in one order for all sets: from rare to common, then by number."""

    sizes: np.ndarray
    items: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, found: Hashes) -> Sets:
        """The sets of `shingles`, whose memory is taken over."""
        counts, used = _numbered(found), 0
        found.low.resize(0, refcheck=False)
        sizes, kept = np.diff(found.starts), [np.zeros(1, dtype=np.int64)]
        for start, end in found.blocks():
            numbers = found.high[found.starts[start] : found.starts[end]]
            shared = numbers != ALONE
            text = np.repeat(np.arange(end - start), sizes[start:end])[shared]
            numbers = numbers[shared]
            keys = np.sort(text << 36 | counts[numbers].astype(np.int64) << 28 | numbers)
            # never reaches what is still to be read
            found.high[used : used + len(keys)] = keys & (2**28 - 1)
            kept.append(np.bincount(text, minlength=end - start))
            used += len(keys)
        found.high.resize(used, refcheck=False)
        return cls(sizes, found.high.view(np.int32), np.cumsum(np.concatenate(kept)))

    def jaccard(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Jaccard similarity of pairs of sets: shared shingles over shingles of either. float64, shape of `left`."""
        made = np.zeros(len(left))
        ends = np.cumsum(self._kept(left) + self._kept(right))
        done = 0
        while done < len(left):
            before = ends[done - 1] if done else 0
            until = max(int(np.searchsorted(ends, before + PAIR_ITEMS, "right")), done + 1)
            one, other = left[done:until], right[done:until]
            keys = np.sort(np.concatenate([self._keys(one), self._keys(other)]))
            shared = np.bincount(keys[1:][keys[1:] == keys[:-1]] >> 32, minlength=len(one))
            made[done:until] = shared / (self.sizes[one] + self.sizes[other] - shared)
            done = until
        return made

    def _kept(self, sets: np.ndarray) -> np.ndarray:
        return self.starts[sets + 1] - self.starts[sets]

    def _keys(self, sets: np.ndarray) -> np.ndarray:
        """Items of each set, marked with the place of the set in `sets`."""
        lengths = self._kept(sets)
        place = np.repeat(np.arange(len(sets)), lengths)
        inner = np.arange(len(place)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return place << 32 | self.items[self.starts[sets][place] + inner].astype(np.int64)


def _numbered(found: Hashes) -> np.ndarray:
    """Overwrites `high` by numbers, ALONE where a hash stands once in all; gives how often each number stands, 255 for
    more: what is more common than that is ordered by number, which does as well."""
    counts, known = [np.zeros(0, dtype=np.uint8)], 0
    part_of = np.empty(len(found.high), dtype=np.uint8)
    chunks = range(0, len(part_of), CHUNK)
    for at in chunks:
        part_of[at : at + CHUNK] = found.high[at : at + CHUNK] >> np.uint32(26)
    for part in range(PARTS):
        where = np.concatenate([np.zeros(0, np.int64), *(np.flatnonzero(part_of[at : at + CHUNK] == part) + at for at in chunks)])
        own = found.high[where].astype(np.uint64) << np.uint64(16) | found.low[where]
        values = np.sort(own)
        first = np.flatnonzero(np.r_[True, values[1:] != values[:-1]][: len(values)])
        times = np.diff(np.r_[first, len(values)])
        shared = values[first[times > 1]]
        if known + len(shared) >= ALONE:
            raise StepError(f"near duplicates: more than {ALONE:,} different shared shingles", hint="clean the files in several pieces")
        place = np.searchsorted(shared, own)
        is_shared = np.zeros(len(own), dtype=bool)
        inside = np.flatnonzero(place < len(shared))
        is_shared[inside] = shared[place[inside]] == own[inside]
        found.high[where] = np.where(is_shared, (place + known).astype(np.uint32), ALONE)
        counts.append(np.minimum(times[times > 1], 255).astype(np.uint8))
        known += len(shared)
    return np.concatenate(counts)


def seeds(count: int) -> np.ndarray:
    """`count` fixed pseudo-random numbers, uint64."""
    return mixed(np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
