"""Comparers: which of two answers to a prompt is better, or another number of an ordered pair. A new one is one file here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import pyarrow as pa

from engine.params import validated
from engine.registry import Registry
from engine.score.method import Method
from engine.spec import Compare as Entry
from engine.step import Context

CHAT = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
QUESTION = pa.schema(
    [("key", pa.string()), ("messages", CHAT), *((name, pa.string()) for name in ("first", "second", "reference", "meta"))]
)


class Comparer(Method, ABC):
    """Compares two answers. `symmetric`: two equal texts are a tie that needs no asking."""

    symmetric: ClassVar[bool] = True

    @abstractmethod
    def compare(self, ctx: Context, questions: pa.Table) -> pa.Table:
        """A row for each of `questions` (QUESTION: `messages` is what the policy saw, `first` and `second` the answers in the order
        in which they are shown): key, probability (that first is better; null: none) or value (of the ordered pair), and perhaps
        votes, uncertainty, verdict, detail, seconds, prompt_tokens, response_tokens.
        """


comparers: Registry[type[Comparer]] = Registry("score.comparers")


def make(entry: Entry) -> Comparer:
    """The comparer of a spec entry. SpecError for an unknown one, or for settings that it does not have or cannot use."""
    method = comparers.load(entry.method)
    return method(validated(method.Params, entry.params, f"compare ({entry.column}): params", f"the comparer {entry.method!r}"))
