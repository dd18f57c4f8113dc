"""Which prompts are answered when, and which answers train at which optimizer step: decided before training from the plan alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """Prompts (row numbers) that train together, and for each the numbers of its answers: a prompt that comes again, in a later
    epoch, gets answers with further numbers, and so draws of their own."""

    prompts: tuple[int, ...]
    samples: tuple[range, ...]

    @property
    def answers(self) -> int:
        """How many answers train in a step on it."""
        return sum(map(len, self.samples))


@dataclass(frozen=True)
class Block:
    """Batches that are answered together, with the weights after `after` optimizer steps."""

    number: int
    after: int
    batches: tuple[Batch, ...]


@dataclass(frozen=True)
class Schedule:
    """`steps`: for each optimizer step its block and its batch in it."""

    blocks: tuple[Block, ...]
    steps: tuple[tuple[int, int], ...]

    def batch(self, step: int) -> Batch:
        """What optimizer step number `step` (from 0) trains on."""
        block, at = self.steps[step]
        return self.blocks[block].batches[at]

    @property
    def plan(self) -> list[list[int]]:
        """Row numbers of the prompts of every optimizer step."""
        return [list(self.batch(step).prompts) for step in range(len(self.steps))]


def schedule(plan: Sequence[Sequence[int]], *, samples: int, together: int, iterations: int, max_steps: int | None) -> Schedule:
    """`together` batches of `plan` are answered at once and trained on `iterations` times in turn, `max_steps` steps at most.

    Batches that would not train any more are not answered.
    """
    asked: Counter[int] = Counter()
    blocks: list[Block] = []
    steps: list[tuple[int, int]] = []
    for start in range(0, len(plan), together):
        own = plan[start : start + together]
        turns = [(len(blocks), at) for _ in range(iterations) for at in range(len(own))]
        turns = turns if max_steps is None else turns[: max_steps - len(steps)]
        if not turns:
            break
        batches = []
        for rows in own[: len({at for _, at in turns})]:
            first = [asked[row] for row in rows]
            batches.append(Batch(tuple(rows), tuple(range(n * samples, (n + 1) * samples) for n in first)))
            asked.update(rows)
        blocks.append(Block(len(blocks), len(steps), tuple(batches)))
        steps += turns
    return Schedule(tuple(blocks), tuple(steps))
