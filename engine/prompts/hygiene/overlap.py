"""How much of an evaluation text stands in a train text: the share of its words that shared n-grams cover.

Source: `decontamination/search.py` of github.com/allenai/open-instruct, described in Lambert et al., "TULU 3", arXiv 2411.15124, here
with postings in memory instead of a search engine. Words are what its analyser leaves (lowercased, split at blanks and , . ? ! : ; ( )
" - and backslash), on both sides, where the repository takes spaCy's words for the evaluation text. Every place of a repeated n-gram
counts, where the repository keeps the last only; and no hit is cut off, where it looks at 100 documents an n-gram. A text of fewer
words than n matches a train text with the same words, which the repository never finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import StepError
from engine.prompts.hygiene.texts import Growing, Splitter, Words, blocks, most_words

GAP = r"[\s,.?!:;()\"\-\\]"
BLOCK = 512  # texts that are looked at together
HITS = 1 << 18  # places of shared n-grams that are held at a time


@dataclass(frozen=True)
class Matches:
    """Best matches. Of each train text: `share` float64 (its largest score) and `item` int64 (the first item with it, -1 for none).
    Of each item: `item_share` float64, its largest score over the train texts."""

    share: np.ndarray
    item: np.ndarray
    item_share: np.ndarray


class Index:
    """Where every n-gram of some items stands. An item is a sequence of texts; its score is the mean over them."""

    def __init__(self, items: Sequence[Sequence[str]], n: int) -> None:
        self.n, self.count, self._splitter = n, len(items), Splitter(GAP)
        texts = [text for item in items for text in item]
        self._item = np.repeat(np.arange(len(items)), [len(item) for item in items])
        self._parts = np.array([len(item) for item in items], dtype=np.float64)
        most = most_words(texts)
        grams, places, lengths, total = Growing(np.uint64, most), Growing(np.int32, most), [np.zeros(1, dtype=np.int64)], 0
        self._short = dict[int, list[int]]()
        for start, block in blocks(texts, BLOCK):
            words = self._splitter.words(block)
            hashes, text, position = words.grams(n)
            grams.add(hashes)
            places.add(words.starts[text] + position + total)
            lengths.append(words.lengths)
            total += len(words.hashes)
            for index in np.flatnonzero((words.lengths < n) & (words.lengths > 0)).tolist():
                self._short.setdefault(words.whole(index), []).append(start + index)
        if total >= 2**31:
            raise StepError(f"evaluation sets of {total:,} words are too much at once", hint="name fewer sets in one experiment")
        # where each text begins, if the words of all stand one after another; a word's number in that row is its place
        self._starts = np.cumsum(np.concatenate(lengths))
        self._sort(grams, places)

    def _sort(self, grams: Growing, places: Growing) -> None:
        hashes = grams.take()
        order = np.argsort(hashes)
        self._places = places.take()[order]
        del order  # as long as the hashes, which are sorted where they lie
        hashes.sort()
        first = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1]][: len(hashes)]).astype(np.int32)
        self._grams, self._first = hashes[first], np.r_[first, np.int32(len(hashes))]
        # a mark for the upper bits of every n-gram, one in eight set: most n-grams of train texts are turned away by one look
        bits = min(max(len(first).bit_length() + 2, 8), 24)
        self._shift = np.uint64(64 - bits)
        self._maybe = np.zeros(1 << bits, dtype=bool)
        self._maybe[self._grams >> self._shift] = True

    def match(self, texts: Sequence[str], advance: Callable[[int], None] = lambda rows: None) -> Matches:
        """Scores of train texts against every item; one text alone counts, texts are not pooled."""
        share, best = np.zeros(len(texts)), np.full(len(texts), -1, dtype=np.int64)
        item_share = np.zeros(self.count)
        for start, block in blocks(texts, BLOCK):
            words = self._splitter.words(block)
            for doc, item, score in self._scores(words):
                np.maximum.at(item_share, item, score)
                # the largest score first, then the smallest item
                order = np.lexsort((item, -score, doc))
                doc, item, score = doc[order], item[order], score[order]
                top = np.flatnonzero(np.r_[True, doc[1:] != doc[:-1]])
                share[start + doc[top]], best[start + doc[top]] = score[top], item[top]
            advance(len(block))
        return Matches(share, best, item_share)

    def _scores(self, words: Words) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(text of the block, item, score) of pairs that share something; all pairs of a text come together."""
        hashes, doc, _ = words.grams(self.n)
        maybe = self._maybe[hashes >> self._shift]
        hashes, doc = hashes[maybe], doc[maybe]
        at = np.minimum(np.searchsorted(self._grams, hashes), max(len(self._grams) - 1, 0))
        found = self._grams[at] == hashes if len(self._grams) else np.zeros(0, dtype=bool)
        at, doc = at[found], doc[found]
        hits = (self._first[at + 1] - self._first[at]).astype(np.int64)
        same = [(index, text) for index in range(len(words.lengths)) for text in self._equal(words, index)]
        for low, high in _ranges(doc, hits):
            inside = slice(*np.searchsorted(doc, [low, high]))
            exact = np.array([pair for pair in same if low <= pair[0] < high], dtype=np.int64).reshape(-1, 2)
            pair, score = self._covered(doc[inside], at[inside], hits[inside])
            pair = np.concatenate([pair, exact[:, 0] * len(self._item) + exact[:, 1]])
            score = np.concatenate([score, np.ones(len(exact))])
            if len(pair):
                yield self._by_item(pair, score)

    def _equal(self, words: Words, index: int) -> list[int]:
        if not self._short or not 0 < words.lengths[index] < self.n:
            return []
        return self._short.get(words.whole(index), [])

    def _covered(self, doc: np.ndarray, at: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(pair, share) of (train text, evaluation text) pairs: words under at least one shared n-gram, over all words."""
        place = self._places[np.repeat(self._first[at] - np.cumsum(hits) + hits, hits) + np.arange(int(hits.sum()))].astype(np.int64)
        pair = np.repeat(doc, hits) * len(self._item) + np.searchsorted(self._starts, place, "right") - 1
        order = np.lexsort((place, pair))
        pair, place = pair[order], place[order]
        last = np.r_[pair[1:] != pair[:-1], True][: len(pair)]
        # an n-gram covers n words, or as many as there are up to the next one; an n-gram that stands twice adds nothing
        reach = np.where(last, self.n, np.minimum(self.n, np.r_[place[1:], 0][: len(place)] - place))
        starts = np.flatnonzero(np.r_[True, last[:-1]][: len(pair)])
        covered = np.add.reduceat(reach, starts) if len(starts) else np.zeros(0, dtype=np.int64)
        pair = pair[starts]
        return pair, covered / np.diff(self._starts)[pair % len(self._item)] if len(pair) else np.zeros(0)

    def _by_item(self, pair: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean over an item's texts, those that share nothing included."""
        order = np.argsort(pair, kind="stable")
        doc, text = pair[order] // len(self._item), pair[order] % len(self._item)
        item = self._item[text]
        new = np.flatnonzero(np.r_[True, (doc[1:] != doc[:-1]) | (item[1:] != item[:-1])])
        return doc[new], item[new], np.add.reduceat(share[order], new) / self._parts[item[new]]


def _ranges(doc: np.ndarray, hits: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of a block's texts, from and to, each with at most HITS places or with a single text; the last ends beyond the block."""
    total, low, done = np.cumsum(hits), 0, 0
    while (at := int(np.searchsorted(total, done + HITS, "right"))) < len(doc):
        high = max(int(doc[at]), low + 1)
        yield low, high
        edge = int(np.searchsorted(doc, high))
        low, done = high, int(total[edge - 1]) if edge else 0
    yield low, BLOCK + 1
