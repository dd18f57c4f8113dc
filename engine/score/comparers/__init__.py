"""Comparers: which of two answers to a prompt is better, or another number of an ordered pair. A new one is one file here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from engine.params import Params, validated
from engine.registry import Registry
from engine.spec import Compare as Entry
from engine.spec import Spec
from engine.step import Context, Ref

CHAT = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
QUESTION = pa.schema(
    [("key", pa.string()), ("messages", CHAT), *((name, pa.string()) for name in ("first", "second", "reference", "meta"))]
)


class Comparer(ABC):
    """Compares two answers. `revision` rises when its numbers change for equal inputs.

    `on_device`: it runs a model. `symmetric`: two equal texts are a tie that needs no asking.
    """

    revision: ClassVar[int] = 1
    on_device: bool = False
    symmetric: ClassVar[bool] = True
    Params: ClassVar[type[Params]] = Params

    def __init__(self, params: Any) -> None:
        self.params = params
        self.detail: dict[str, Any] = {}  # what the ledger keeps of a run beside its rows, such as costs

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """What it reads beside the rollouts and their prompts."""
        return []

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        """JSON for the fingerprint, beside its params: neither the round nor the experiment's name."""
        return {}

    def versions(self, ctx: Context) -> list[str]:
        """Digests of the models that it reads in this round."""
        return []

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
