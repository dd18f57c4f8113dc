"""Texts as words and word n-grams, each a 64-bit number, for many texts at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ODD = np.uint64(0x9E3779B97F4A7C15)


def asked(row: dict[str, Any]) -> str:
    """What a prompt asks: the contents of its messages but the system's, one a line. A system message that all prompts share would
    make them alike."""
    return "\n".join(message["content"] for message in row["messages"] if message["role"] != "system")


@dataclass(frozen=True)
class Words:
    """Words of a block of texts as hashes, one text after another; text i has those from starts[i] to starts[i + 1]."""

    hashes: np.ndarray
    starts: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Words of each text."""
        return np.diff(self.starts)

    def grams(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(hash uint64, text, position) of every run of `n` words within a text, in order; none for a text of fewer words."""
        count = max(len(self.hashes) - n + 1, 0)
        made = np.zeros(count, dtype=np.uint64)
        for shift in range(n):
            made *= ODD
            made += self.hashes[shift : shift + count]
        text = np.repeat(np.arange(len(self.lengths)), self.lengths)
        whole = text[:count] == text[n - 1 :]
        text = text[:count][whole]
        return mixed(made[whole]), text, np.flatnonzero(whole) - self.starts[text]

    def whole(self, index: int) -> int:
        """One hash of all words of a text and their order."""
        return int.from_bytes(blake2b(self.hashes[self.starts[index] : self.starts[index + 1]].tobytes(), digest_size=8).digest(), "little")


class Splitter:
    """Cuts texts into lowercased words at every character that the regular expression `gap` matches."""

    def __init__(self, gap: str) -> None:
        self._gap = re.compile(gap)
        self._ascii = {code: " " for code in range(128) if self._gap.fullmatch(chr(code))}

    def words(self, texts: Sequence[str]) -> Words:
        """The words of texts."""
        cut = [self._cut(text.lower()) for text in texts]
        found = pc.ascii_split_whitespace(pa.array(cut, type=pa.large_string()))
        encoded = found.flatten().dictionary_encode()
        hashes = word_hashes(encoded.dictionary)[encoded.indices.to_numpy()]
        # a text without words comes as one empty word
        lengths, empty = np.diff(found.offsets.to_numpy()), np.array([not text for text in cut], dtype=bool)
        hashes = hashes[~np.repeat(empty, lengths)]
        return Words(hashes, np.r_[0, np.cumsum(np.where(empty, 0, lengths))].astype(np.int64))

    def _cut(self, text: str) -> str:
        # characters of ASCII alone need no regular expression
        return (text.translate(self._ascii) if text.isascii() else self._gap.sub(" ", text)).strip(" ")


def word_hashes(words: pa.Array) -> np.ndarray:
    """A 64-bit hash of each word (a large_string array): a polynomial over pseudo-random numbers of its bytes, modulo 2^64, mixed with
    its length."""
    lengths = pc.binary_length(words).to_numpy().astype(np.int64)
    whole = np.zeros(len(lengths), dtype=np.uint64)
    full = np.flatnonzero(lengths)
    if len(full):
        _, offsets, data = words.buffers()
        bounds = np.frombuffer(offsets, dtype=np.int64)[words.offset : words.offset + len(words) + 1]
        values = BYTES[np.frombuffer(data, dtype=np.uint8)[bounds[0] : bounds[-1]]]
        powers = np.multiply.accumulate(np.full(int(lengths.max()), ODD, dtype=np.uint64))
        starts = bounds[:-1] - bounds[0]
        values *= powers[np.arange(len(values)) - np.repeat(starts, lengths)]
        whole[full] = np.add.reduceat(values, starts[full])
    return mixed(whole + lengths.astype(np.uint64) * ODD)


class Growing:
    """An array that is filled from the start, of at most `most` numbers; memory that is not written to is not taken. Parts that
    are put together at the end would be held twice."""

    def __init__(self, kind: type, most: int) -> None:
        self._array: np.ndarray = np.empty(most, dtype=kind)
        self.used = 0

    def add(self, values: np.ndarray) -> None:
        """Appends values, cast to the array's type: of larger numbers the lower bits stay."""
        self._array[self.used : self.used + len(values)] = values.astype(self._array.dtype)
        self.used += len(values)

    def take(self) -> np.ndarray:
        """What was added, which is let go of here."""
        made, self._array = self._array, self._array[:0].copy()
        made.resize(self.used, refcheck=False)
        return made


def most_words(texts: Sequence[str]) -> int:
    """No fewer than the texts' words, counting one for a text without any. Lowercased, some characters are a word and a gap each."""
    return sum(len(text) + 1 for text in texts)


def mixed(keys: np.ndarray) -> np.ndarray:
    """SplitMix64's finish: every bit of a key reaches every bit of the result."""
    z = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def blocks(texts: Sequence[str], size: int) -> Iterator[tuple[int, Sequence[str]]]:
    """(start, texts) block after block."""
    for start in range(0, len(texts), size):
        yield start, texts[start : start + size]


BYTES = mixed(np.arange(1, 257, dtype=np.uint64) * ODD)
