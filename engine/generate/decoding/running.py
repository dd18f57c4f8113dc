"""The running batch: which answer each row of the model's batch is, what it has drawn, and how far it is.

A row is live until its answer ends; then it is dead, and computed along without effect, until it leaves or another
answer takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.generate.decoding.sampler import Sampling


@dataclass(frozen=True)
class Question:
    """A prompt (token ids, not empty) with what is asked: an answer for each random stream in `keys` (uint64), of at most `limit`
    tokens, drawn as `how` says."""

    prompt: Sequence[int]
    keys: np.ndarray
    how: Sampling
    limit: int


@dataclass(frozen=True)
class Answer:
    """One answer: the tokens drawn (with the end token), their log-probabilities in nats at temperature 1 without filters, the
    rounded sum of those, and whether it ended by itself. It is number `sample` of the keys of question number `question`."""

    question: int
    sample: int
    tokens: np.ndarray
    logprobs: np.ndarray
    logprob: float
    stopped: bool


class Rows:
    """Columns of the running batch, a row each: `question`, `sample`, `keys`, `lengths` (tokens that the model has seen of it, 1 for a
    dead row), `counts` (tokens drawn), `limits`, `hows` (number of its sampler), `live`, `last` (the token drawn last), `tokens` and
    `logprobs` (rows, most tokens)."""

    _COLUMNS = ("question", "sample", "keys", "lengths", "counts", "limits", "hows", "live", "last", "tokens", "logprobs")

    def __init__(self, questions: Sequence[Question], taken: Sequence[tuple[int, int, int]], hows: dict[Sampling, int], most: int) -> None:
        """`taken`: (number of a question, its first sample, how many) in order; all of them live, with nothing drawn."""
        counts = [count for *_, count in taken]
        self.question = np.repeat([number for number, *_ in taken], counts)
        self.sample = np.concatenate([np.arange(first, first + count) for _, first, count in taken])
        self.keys = np.concatenate([questions[number].keys[first : first + count] for number, first, count in taken])
        asked = [questions[number] for number, *_ in taken]
        self.lengths = np.repeat([len(one.prompt) for one in asked], counts)
        self.limits = np.repeat([one.limit for one in asked], counts)
        self.hows = np.repeat([hows[one.how] for one in asked], counts)
        n = len(self.question)
        self.counts, self.last, self.live = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
        self.tokens, self.logprobs = np.zeros((n, most), dtype=np.int64), np.zeros((n, most))

    def __len__(self) -> int:
        return len(self.question)

    def keep(self, rows: np.ndarray) -> None:
        """Drops all rows but these."""
        for name in self._COLUMNS:
            setattr(self, name, getattr(self, name)[rows])

    def replace(self, rows: np.ndarray, other: Rows, of: np.ndarray) -> None:
        """Row `rows[i]` becomes row `of[i]` of `other`."""
        for name in self._COLUMNS:
            getattr(self, name)[rows] = getattr(other, name)[of]

    def add(self, tokens: np.ndarray, logprobs: np.ndarray) -> None:
        """A token more for every live row."""
        live = np.flatnonzero(self.live)
        self.last = tokens
        self.tokens[live, self.counts[live]] = tokens[live]
        self.logprobs[live, self.counts[live]] = logprobs[live]
        self.counts[live] += 1

    def end(self, rows: np.ndarray) -> None:
        """These rows' answers are over."""
        self.live[rows] = False
        self.lengths[rows] = 1
