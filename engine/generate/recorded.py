"""Takes answers from files that another system wrote: the backend `recorded`.

A row of the files holds answers of one or several actors to one prompt (engine/generate/recordings.py says in which forms). It
finds its prompt by id, by messages, or by text: all contents joined by newlines, or the last user message alone. Answers are taken
in the order of the files; equal answers of an actor stay, unless `duplicates: first`. What the files have for prompts that the
round does not ask, and whom they have no answers of, stands in the ledger (`rondo ask unanswered`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from engine import datafiles
from engine.errors import DataError, StepError
from engine.generate import POLICY, Backend, Job, backends
from engine.generate.asks import asked, numbers, with_samples
from engine.generate.recordings import Recorded, RecordedParams, Recordings, read
from engine.generate.rows import generations
from engine.generate.unanswered import Unanswered
from engine.ids import content_id


@backends.register("recorded")
class RecordedBackend(Backend):
    """Reads the files once. A prompt gets the first `samples` answers of each actor of the files, or all that they have."""

    revision = 2
    needs_model = False
    uses_sampler = False
    Params = RecordedParams

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._params: RecordedParams = job.params

    @classmethod
    def settings(cls, params: RecordedParams, spec_path: Path) -> dict[str, Any]:
        """The columns and the digests of the files; where the files lie does not matter."""
        digests = datafiles.digest(params.path, spec_path.parent)
        return {**params.model_dump(mode="json", exclude={"path"}), "files": list(digests.values())}

    @classmethod
    def check(cls, params: RecordedParams, spec_path: Path) -> None:
        """Reads every row of the files."""
        read(params, spec_path, POLICY)

    @classmethod
    def actors(cls, params: RecordedParams, spec_path: Path, actor: str) -> list[str]:
        """Those whom the files name; `actor` where they name nobody."""
        return list(read(params, spec_path, actor).actors)

    @cached_property
    def _files(self) -> Recordings:
        return read(self._params, self.job.spec_path, self.job.actor)

    def _offered(self, prompt: str, messages: list[dict[str, Any]]) -> list[Recorded]:
        """The answers to a prompt. The place of one in this list is its number: `sample` of its row."""
        found = self._files.of(prompt, messages)
        if self._params.duplicates == "first":
            first: dict[tuple[str, str], Recorded] = {}
            for answer in found:
                first.setdefault((answer.actor, answer.response), answer)
            found = list(first.values())
        return found

    def prepare(self, prompts: pa.Table) -> pa.Table:
        """The prompts with the numbers of their answers. DataError that names those with too few, unless `missing: skip`.

        The trial n of an actor is the n-th of its answers. With `take: samples` an actor that has fewer answers than are asked
        gives none to that prompt; with `take: all` a prompt is only missing where nobody has answered it.
        """
        lost, wanted, used, seen = Unanswered(), list[list[int]](), 0, set[int]()
        trials = numbers(self.job, prompts)
        most = [max(tries, default=-1) + 1 for tries in trials]
        for prompt, messages, tries in zip(prompts["prompt_id"].to_pylist(), prompts["messages"].to_pylist(), trials, strict=True):
            offered = self._offered(prompt, messages)
            seen |= {answer.number for answer in self._files.of(prompt, messages)}
            places = {actor: [n for n, answer in enumerate(offered) if answer.actor == actor] for actor in self._files.actors}
            enough = 1 if self._params.take == "all" else max(tries, default=-1) + 1
            for actor, own in places.items():
                if len(own) < enough and not (self._params.take == "all" and offered):
                    who = f"{actor}: " if len(places) > 1 else ""
                    lost.add(actor, prompt, f"{prompt} ({who}{len(own)}): {messages[-1]['content']!r:.60}")
            found = [own for own in places.values() if len(own) >= enough]
            taken = [n for own in found for n in (own if self._params.take == "all" else [own[trial] for trial in tries])]
            wanted.append(sorted(taken))
            used += len(taken)
        if lost.prompts and (self._params.missing == "error" or not any(wanted)):
            few = "no recorded answer" if self._params.take == "all" else f"fewer than {_span(most)} recorded answers"
            raise DataError(
                f"{len(lost.prompts)} of {len(wanted)} prompts have {few}:\n  {lost.shown()}",
                where=str(self._params.path),
                hint="lower `samples`, add answers, set params.take: all, or leave such prompts out with params.missing: skip",
            )
        skipped = sum(not own for own in wanted)
        self.detail = {
            "prompts_skipped": skipped,
            "prompts_partly_answered": len(lost.prompts) - skipped,
            "answers_unused": len(seen) - used,
            "answers_unmatched": self._files.count - len(seen),
            **lost.detail(),
        }
        return with_samples(prompts, wanted)

    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The recorded answers of a batch. StepError for a number that the files do not reach."""
        began, wanted = time.perf_counter(), asked(self.job, asks)
        known = zip(asks.column("prompt_id").to_pylist(), asks.column("messages").to_pylist(), strict=True)
        found = {prompt: self._offered(prompt, messages) for prompt, messages in known}
        short = next(((p, n) for p, n in wanted.pairs if n >= len(found[p])), None)
        if short:
            text = f"answer {short[1]} to prompt {short[0]} is asked, and the files have {len(found[short[0]])}"
            raise StepError(text, where=str(self._params.path), hint="with generate.until, params.take must be `samples`")
        taken = [found[prompt][number] for prompt, number in wanted.pairs]
        yield generations(
            self.job,
            wanted,
            [answer.response for answer in taken],
            seconds=time.perf_counter() - began,
            actors=[answer.actor for answer in taken],
            models=[answer.model for answer in taken],
            sources=[f"{answer.model}/{content_id(answer.response)}" for answer in taken],
        )


def _span(counts: list[int]) -> str:
    return str(counts[0]) if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)}"
