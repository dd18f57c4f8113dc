"""A backend whose answers a test makes up: text and tokens of each by prompt and number, in any order and in one call or by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from engine.generate import Backend, Params, backends
from engine.generate.asks import Asked, Pair, asked
from engine.generate.rows import generations

Answer = tuple[str, int | None]  # text and response tokens


@dataclass
class Script:
    """What the backend does. `answer(step, question, number, max_tokens)`; `log` has every answer that was asked, call by call."""

    answer: Callable[[str, str, int, int], Answer] = lambda step, question, number, most: (f"{question} {number}", min(3, most))
    backwards: bool = False
    dies_after: int | None = None
    finish_reason: str = "stop"
    log: list[list[Pair]] = field(default_factory=list)


script = Script()


class StandInParams(Params):
    schedules: bool = False


@backends.register("stand_in")
class StandIn(Backend):
    """Follows `script`."""

    needs_model = False
    Params = StandInParams

    def __init__(self, job: Any) -> None:
        super().__init__(job)
        self.schedules = job.params.schedules  # type: ignore[misc]

    def prepare(self, prompts: pa.Table) -> pa.Table:
        return prompts.take(list(range(prompts.num_rows))[::-1]) if script.backwards else prompts

    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """All rows at once, or one at a time where it is to die."""
        wanted = asked(self.job, asks)
        script.log.append(wanted.pairs)
        said = zip(asks.column("prompt_id").to_pylist(), asks.column("messages").to_pylist(), strict=True)
        questions = {prompt: messages[-1]["content"] for prompt, messages in said}
        size = 1 if script.dies_after is not None else len(wanted.prompts)
        for start in range(0, len(wanted.prompts), size):
            some = Asked([], *(own[start : start + size] for own in wanted[1:]))
            if script.dies_after is not None:
                script.dies_after -= 1
                if script.dies_after < 0:
                    raise KeyboardInterrupt
            yield self._answered(some, questions)

    def _answered(self, some: Asked, questions: dict[str, str]) -> pa.RecordBatch:
        n, limits = len(some.prompts), [sampler.max_tokens for sampler in some.samplers]
        made = [
            script.answer(self.job.step, questions[prompt], number, most)
            for prompt, number, most in zip(some.prompts, some.samples, limits, strict=True)
        ]
        return generations(
            self.job,
            some,
            [text for text, _ in made],
            seconds=0.5 * n,
            models=["stand-in"] * n,
            seeds=[7] * n,
            prompt_tokens=[len(questions[prompt]) for prompt in some.prompts],
            response_tokens=[tokens for _, tokens in made],
            finish_reason=[script.finish_reason] * n,
        )
