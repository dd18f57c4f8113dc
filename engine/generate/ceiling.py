"""The most response tokens that a round may draw, never exceeded: what might not fit is not asked.

Answers stand in turns: every prompt's first before any second one, prompts in the order of the round. As many of them are asked
together as fit if each used all of its max_tokens; what they leave over is for the next ones, until not even one fits. A piece is
so a function of the answers before it and of nothing else: neither `generate.batch` nor the backend's own order nor a crash changes
what is asked. Pieces shrink as the ceiling comes near, to a few answers each: that is the price for using nearly all of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa

from engine.errors import SpecError, StepError
from engine.generate import Backend, Job, backends
from engine.generate.asks import asked, with_samples
from engine.generate.cast import cast
from engine.spec import Spec
from engine.tables import TABLES

Ask = Callable[[pa.Table, "int | None"], pa.Table]


class Turn(NamedTuple):
    """One answer that is to be asked: its prompt, its number, and the most tokens that it may have."""

    prompt: str
    sample: int
    longest: int


@dataclass
class Ceiling:
    """`most` response tokens of a round, all actors together (None: as many as they like), and what was `spent` of them.

    `left_out` counts answers that were not asked.
    """

    most: int | None
    spent: int = 0
    left_out: int = 0

    def answers(self, backend: Backend, asks: pa.Table, prompts: Sequence[str], ask: Ask) -> pa.Table:
        """The answers to as much of `asks` (prepared by the backend) as fits; `prompts` are the ids in the order of the round.

        `ask` gets rows to ask and the number of the piece, None where there is no ceiling or the backend draws no tokens.
        StepError where the backend does not count tokens, or draws more than it was allowed.
        """
        turns = _turns(backend.job, asks, prompts)
        if self.most is None or not backend.uses_sampler or not turns:
            return ask(asks, None)
        found = [TABLES["generations"].columns.empty_table()]
        while turns and (fits := self._fitting(turns)):
            rows = ask(_only(asks, turns[:fits]), len(found) - 1)
            self._pay(rows, turns[:fits], backend.job)
            found.append(rows)
            turns = turns[fits:]
        self.left_out += len(turns)
        return pa.concat_tables(found)

    def _fitting(self, turns: list[Turn]) -> int:
        """How many of the first turns fit, however long their answers become."""
        assert self.most is not None
        room = self.most - self.spent
        return sum(total <= room for total in accumulate(turn.longest for turn in turns))

    def _pay(self, rows: pa.Table, turns: list[Turn], job: Job) -> None:
        """Counts the tokens of answers; one that failed may have used all that it was allowed."""
        longest = {(turn.prompt, turn.sample): turn.longest for turn in turns}
        columns = ("prompt_id", "sample", "response_tokens", "finish_reason")
        for prompt, sample, tokens, reason in zip(*(rows[name].to_pylist() for name in columns), strict=True):
            most = longest[prompt, sample]
            if tokens is None and reason != "error":
                text = f"{job.step}: answer {sample} of {job.actor} to prompt {prompt!r} does not say how many tokens it has"
                raise StepError(text, where="generate.ceiling", hint="leave the ceiling out, or use a backend or server that counts")
            if tokens is not None and tokens > most:
                text = f"{job.step}: answer {sample} of {job.actor} to prompt {prompt!r} has {tokens} tokens, at most {most} were asked for"
                hint = "the server does not keep to max_tokens, so no ceiling can hold: leave it out"
                raise StepError(text, where="generate.ceiling", hint=hint)
            self.spent += most if tokens is None else tokens

    def detail(self) -> dict[str, Any]:
        """For the ledger; nothing where there is no ceiling."""
        return {} if self.most is None else {"ceiling": {"tokens": self.most, "spent": self.spent}}


def _turns(job: Job, asks: pa.Table, prompts: Sequence[str]) -> list[Turn]:
    """The answers that are asked: first ones of all prompts, then second ones, and so on."""
    place = {prompt: number for number, prompt in enumerate(prompts)}
    made, turn, found = asked(job, asks), defaultdict[str, int](int), list[tuple[int, int, Turn]]()
    for prompt, sample, sampler in zip(made.prompts, made.samples, made.samplers, strict=True):
        found.append((turn[prompt], place[prompt], Turn(prompt, sample, sampler.max_tokens)))
        turn[prompt] += 1
    return [one for _, _, one in sorted(found)]


def _only(asks: pa.Table, turns: list[Turn]) -> pa.Table:
    """The rows of `asks`, in their order, with those of their samples that are among `turns`."""
    chosen = defaultdict[str, list[int]](list)
    for turn in turns:
        chosen[turn.prompt].append(turn.sample)
    return with_samples(asks, [chosen[prompt] for prompt in asks["prompt_id"].to_pylist()])


def not_asked(asks: pa.Table, rows: pa.Table) -> int:
    """Prompts of `asks` without a single answer."""
    return len(set(asks["prompt_id"].to_pylist()) - set(rows["prompt_id"].to_pylist()))


def check(spec: Spec) -> None:
    """SpecError for a ceiling that limits nothing, or under which not even one answer fits."""
    most = spec.generate.ceiling
    if most is None:
        return
    drawing = [how.sampler.max_tokens for how in cast(spec) if backends.load(how.backend).uses_sampler]
    if not drawing:
        text = f"generate.ceiling: {spec.generate.backend!r} takes answers from elsewhere, which cost no tokens"
        raise SpecError(text, hint="leave the ceiling out")
    if most < min(drawing):
        text = f"generate.ceiling: expected at least max_tokens, {min(drawing)}, found {most}: not even one answer would fit"
        raise SpecError(text, hint="raise generate.ceiling, or lower generate.max_tokens")
