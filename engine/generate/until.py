"""Sampling in waves until each prompt has enough right (and wrong) answers, its answers agree, or it has used up its trials.

Rejection sampling with a target for each prompt, as DART makes data (Tong et al., arXiv 2407.13690; dart_math/gen.py). The
paper stops at `right` right answers; its code at one more (it compares with >), which `right: n + 1` gives. A wave asks all
unfinished prompts together, so batches stay full. Nothing is cut off: a prompt may have up to a wave's answers more than it
needed, and a selection takes the first. What would have been the trial of the n-th right answer is the number of that sample,
plus 1.

`agree` stops a prompt on which the policy is of one mind, as adaptive self-consistency does (Aggarwal et al., "Let's Sample Step
by Step", EMNLP 2023, arXiv 2305.11860). The paper stops when the leading answer would keep its majority with high probability,
under a Beta or Dirichlet posterior over the answers' shares, and so also where a few answers differ; here all answers so far must
have the same final answer, and a prompt on which two ever differed goes on. No reference is needed for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import SpecError
from engine.generate import backends
from engine.generate.asks import with_samples
from engine.generate.budget import Target
from engine.score.waves import judged
from engine.spec import Spec


@dataclass
class Tally:
    """Trials, right and wrong answers of each prompt so far, and the different final answers that it was given."""

    targets: dict[str, Target]
    bar: float
    trials: dict[str, int] = field(init=False)
    right: dict[str, int] = field(init=False)
    finals: dict[str, set[str | None]] = field(init=False)

    def __post_init__(self) -> None:
        self.trials, self.right = dict.fromkeys(self.targets, 0), dict.fromkeys(self.targets, 0)
        self.finals = {prompt: set() for prompt in self.targets}

    def add(self, prompts: Sequence[str], scores: Sequence[float | None], finals: Sequence[str | None] | None = None) -> None:
        """Counts judged answers; one without a score is wrong, one without a final answer agrees with none."""
        for prompt, score, final in zip(prompts, scores, finals or [None] * len(prompts), strict=True):
            self.trials[prompt] += 1
            self.right[prompt] += score is not None and score >= self.bar
            self.finals[prompt].add(final)

    def left(self) -> list[str]:
        """The prompts that are not done."""
        return [
            p for p, target in self.targets.items() if not (self.agreed(p) or target.done(self.trials[p], self.right[p], self.wrong(p)))
        ]

    def wrong(self, prompt: str) -> int:
        """Wrong answers of a prompt."""
        return self.trials[prompt] - self.right[prompt]

    def agreed(self, prompt: str) -> bool:
        """Whether a prompt has enough answers and all have the same final answer."""
        enough, finals = self.targets[prompt].agree, self.finals[prompt]
        return enough is not None and self.trials[prompt] >= enough and len(finals) == 1 and None not in finals

    def detail(self, judged: bool = True) -> dict[str, Any]:
        """For the ledger: trials of all prompts; how many agreed, where that ends a prompt; and where answers are judged the right
        ones, how many prompts miss their target, and by how much. A prompt that agreed misses nothing."""
        open_ = {p: t for p, t in self.targets.items() if not self.agreed(p)}
        short = {p: max(0, (t.right or 0) - self.right[p]) for p, t in open_.items()}
        short_wrong = {p: max(0, (t.wrong or 0) - self.wrong(p)) for p, t in open_.items()}
        agreed = {"prompts_agreed": len(self.targets) - len(open_)} if any(t.agree for t in self.targets.values()) else {}
        right = {
            "right": sum(self.right.values()),
            "prompts_short": sum(bool(short[p] or short_wrong[p]) for p in open_),
            "deficit_right": sum(short.values()),
            "deficit_wrong": sum(short_wrong.values()),
        }
        return {"trials": sum(self.trials.values()), **(right if judged else {}), **agreed}


Ask = Callable[[pa.Table, int], pa.Table]
Scores = Callable[[pa.Table, int], list[float | None]]
Finals = Callable[[pa.Table], list[str | None]]


def sample(
    prompts: pa.Table, tally: Tally, wave: int, ask: Ask, judge: Scores | None, finals: Finals | None = None
) -> tuple[list[pa.Table], int]:
    """The answers of each wave, and how many waves there were.

    `prompts` (prompt_id, messages) in the order in which they are asked; `ask` answers rows that also have `samples`, `judge`
    gives the scores of answers (None: nobody judges them), both get the number of the wave; `finals` gives final answers. Where
    `ask` gives fewer answers than were asked, there is no more to be had, and the wave is the last one. The tally ends up with all.
    """
    found: list[pa.Table] = []
    number = 0
    while left := tally.left():
        asks = prompts.filter(pc.is_in(prompts["prompt_id"], value_set=pa.array(left, pa.string())))
        ids = asks["prompt_id"].to_pylist()
        wanted = [range(tally.trials[p], min(tally.trials[p] + wave, tally.targets[p].cap)) for p in ids]
        rows = ask(with_samples(asks, wanted), number)
        if rows.num_rows:
            scores = judge(rows, number) if judge else [None] * rows.num_rows
            tally.add(rows["prompt_id"].to_pylist(), scores, finals(rows) if finals else None)
            found.append(rows)
            number += 1
        if rows.num_rows < sum(map(len, wanted)):
            break
    return found, number


def check(spec: Spec) -> None:
    """SpecError where waves cannot be judged, cannot agree, or give the same answer again and again."""
    own, until = spec.generate, spec.generate.until
    if until is None:
        return
    if not spec.score and not (until.agree and until.right is None and until.wrong is None):
        raise SpecError("generate.until: nothing says which answers are right", hint="add a verifier to `score`, or stop by `agree`")
    for scorer in spec.score if judged(spec) else ():
        if scorer.measure:
            raise SpecError(
                f"generate.until: {scorer.column} is a measure, and only verifiers can judge while answers are made",
                hint="use generate.samples, or move it to `measure`",
            )
    if until.agree is not None and until.agree > until.cap:
        raise SpecError(f"generate.until.agree: expected at most cap, {until.cap}, found {until.agree}", hint="raise `cap`")
    if own.temperature == 0 and not own.plan and backends.load(own.backend).uses_sampler:
        raise SpecError("generate.until: at temperature 0 every trial gives the same answer", hint="set generate.temperature above 0")
