"""The embedder `hashed_ngrams`: words, word bigrams and character n-grams, hashed into a fixed number of dimensions.

No model and no download. Feature hashing with a sign: Weinberger et al., "Feature Hashing for Large Scale Multitask
Learning", arXiv 0902.2206; character n-grams of words with marked ends: Bojanowski et al., "Enriching Word Vectors with
Subword Information", arXiv 1607.04606. Which words count how much is our own choice, made without a look at the other texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from engine.cluster.embedders import Embedder, embedders
from engine.cluster.words import stop_words, tokens
from engine.ids import digest
from engine.params import Params

GAMMA = np.uint64(0x9E3779B97F4A7C15)  # odd, so that the product keeps all bits
NOTHING = "\0nothing"  # the one feature of a text without words
BATCH = 1024  # texts whose features are held at a time


class HashedNgramsParams(Params):
    """Settings of `hashed_ngrams`. Weights multiply 1 + ln(times a feature stands in the text)."""

    dimensions: int = Field(384, gt=0)
    bigram_weight: float = Field(0.5, ge=0, description="of two words in a row, times the weights of both; 0: no bigrams")
    character_weight: float = Field(0.3, ge=0, description="of character n-grams; 0: none")
    character_min: int = Field(3, gt=0, description="characters of the shortest n-gram")
    character_max: int = Field(5, gt=0, description="characters of the longest n-gram")
    stop_weight: float = Field(0.1, ge=0, description="of English function words and signs, which have no character n-grams")

    @model_validator(mode="after")
    def _spans(self) -> HashedNgramsParams:
        if self.character_max < self.character_min:
            raise ValueError(f"character_max is {self.character_max}, less than character_min, {self.character_min}")
        return self


@embedders.register("hashed_ngrams")
class HashedNgrams(Embedder):
    """Deterministic everywhere: BLAKE2b for words and n-grams, integer mixing for bigrams, sums in a text's own order."""

    revision = 1
    Params = HashedNgramsParams

    def __init__(self, params: Any, *more: Any) -> None:
        super().__init__(params, *more)
        self._number: dict[str, int] = {}
        self._hashes: list[int] = []
        self._weights: list[float] = []
        self._grams: list[np.ndarray] = []

    @property
    def name(self) -> str:
        """The method, its dimensions, and a digest of its settings."""
        return f"hashed_ngrams-{self.params.dimensions}-{digest(self.params.model_dump(mode='json'))[:8]}"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of length 1: float32 (texts, dimensions)."""
        made = np.zeros((len(texts), self.params.dimensions), dtype=np.float32)
        for start in range(0, len(texts), BATCH):
            made[start : start + BATCH] = self._batch(texts[start : start + BATCH])
        return made

    def _batch(self, texts: Sequence[str]) -> np.ndarray:
        numbers = [[self._word(word) for word in tokens(text)] or [self._word(NOTHING)] for text in texts]
        row = np.repeat(np.arange(len(texts)), [len(words) for words in numbers])
        word = np.concatenate([np.asarray(words, dtype=np.int64) for words in numbers])
        known, word = np.unique(word, return_inverse=True)  # from here on numbers within the batch
        hashes = np.array([self._hashes[w] for w in known], dtype=np.uint64)
        weights, grams = np.array([self._weights[w] for w in known]), [self._grams[w] for w in known]
        rows, keys, values = [row], [hashes[word]], [weights[word]]
        if self.params.bigram_weight:
            inner = row[1:] == row[:-1]
            first, second = word[:-1][inner], word[1:][inner]
            rows.append(row[1:][inner])
            keys.append(_mixed(hashes[first] * GAMMA ^ hashes[second]))
            values.append(self.params.bigram_weight * weights[first] * weights[second])
        if self.params.character_weight:
            counts = np.array([len(one) for one in grams])[word]
            rows.append(np.repeat(row, counts))
            keys.append(np.concatenate([grams[w] for w in word]))
            values.append(np.full(counts.sum(), self.params.character_weight))
        return self._summed(len(texts), np.concatenate(rows), np.concatenate(keys), np.concatenate(values))

    def _summed(self, n: int, rows: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Features that stand several times in a text count 1 + ln(times) times their weight; then signs, sums and length 1."""
        order = np.lexsort((keys, rows))  # a text's own features in an order of their own, whatever texts are beside it
        rows, keys, values = rows[order], keys[order], values[order]
        first = np.flatnonzero(np.r_[True, (rows[1:] != rows[:-1]) | (keys[1:] != keys[:-1])])
        times = np.diff(np.r_[first, len(rows)])
        scale = np.array([0.0, *(round(1 + math.log(t), 12) for t in range(1, int(times.max()) + 1))])
        sign = np.where(keys[first] >> np.uint64(63), 1.0, -1.0)
        dimensions = self.params.dimensions
        place = rows[first] * dimensions + (keys[first] % np.uint64(dimensions)).astype(np.int64)
        made = np.bincount(place, weights=values[first] * scale[times] * sign, minlength=n * dimensions)
        # bincount adds one after another, so that no processor adds in another order
        squares = np.bincount(np.repeat(np.arange(n), dimensions), weights=made**2, minlength=n)
        lengths = np.sqrt(squares)
        return (made.reshape(n, dimensions) / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)

    def _word(self, word: str) -> int:
        """The word's number; its hash, weight and character n-grams are made once."""
        number = self._number.get(word)
        if number is None:
            number = self._number[word] = len(self._hashes)
            says_little = word in stop_words() or not (word[0].isalnum() or word == NOTHING)
            self._hashes.append(_hash(f"word {word}"))
            self._weights.append(self.params.stop_weight if says_little else 1.0)
            whole = word == NOTHING or says_little
            self._grams.append(np.array([] if whole else [_hash(f"characters {gram}") for gram in self._cut(word)], dtype=np.uint64))
        return number

    def _cut(self, word: str) -> list[str]:
        marked = f"<{word}>"
        spans = range(self.params.character_min, min(self.params.character_max, len(marked) - 1) + 1)
        return [marked[start : start + span] for span in spans for start in range(len(marked) - span + 1)]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _mixed(keys: np.ndarray) -> np.ndarray:
    """SplitMix64's finish: every bit of the key reaches the bucket and the sign."""
    z = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
