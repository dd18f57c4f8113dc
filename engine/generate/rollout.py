"""One actor's answers in a round: so many a prompt, or in waves until a prompt is done, under the round's ceiling."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from engine.generate import Backend
from engine.generate.answering import Answering
from engine.generate.asks import with_samples
from engine.generate.budget import Budget
from engine.generate.cast import Setup
from engine.generate.ceiling import Ceiling, not_asked
from engine.generate.paid import Paid
from engine.generate.until import Tally, sample
from engine.score.finals import Finals
from engine.score.waves import Waves
from engine.step import Context
from engine.tables import TABLES


class Answered(NamedTuple):
    """Answers, the parts of `scores` with the verdicts on them where they came in waves, and what the ledger is told."""

    rows: pa.Table
    parts: dict[tuple[str, str], pa.Table]
    detail: dict[str, Any]


@dataclass
class Rollout:
    """An actor (`how`, with its backend) that is asked `prompts` of the round; `budget` where it follows a plan or `until`.

    `judged`: the scorers whose verdicts waves wait for. `journal` and `label` are the actor's own.
    """

    ctx: Context
    step: Answering
    how: Setup
    backend: Backend
    prompts: pa.Table
    budget: Budget | None
    judged: list[str]
    ceiling: Ceiling
    journal: Path
    label: str

    def __post_init__(self) -> None:
        self.paid = Paid(self.step, self.ctx, self.how, self.backend)

    def run(self) -> Answered:
        """Rows in no particular order; `detail` counts prompts and answers that were not asked, and answers of the run before
        that were kept, where there are any."""
        ids, own, before = self.prompts["prompt_id"].to_pylist(), self.budget, self.ceiling.left_out
        until = own and own.until
        counts = [self.how.samples if own is None else own.target(p).cap if until else own.samples(p) for p in ids]
        asks = with_samples(self.prompts, [range(count) for count in counts])
        ready = self.backend.prepare(own.with_sampler(asks) if own else asks)
        made = self._until(ready) if until else Answered(self._ask(ready, self.journal, self.label), {}, {})
        lost = {
            "prompts_not_asked": len(ids) - asks.num_rows + not_asked(ready, made.rows),
            "answers_not_asked": self.ceiling.left_out - before,
            "answers_kept": self.paid.taken,
        }
        counted = {name: count for name, count in lost.items() if count}
        planned = {"plan": own.planned} if own and self.ctx.spec.generate.plan else {}
        return made._replace(detail={**self.backend.detail, **made.detail, **counted, **planned})

    def _ask(self, asks: pa.Table, journal: Path, label: str) -> pa.Table:
        """The answers to as much of `asks` as the ceiling lets through."""

        def ask(piece: pa.Table, number: int | None) -> pa.Table:
            folder, name = (journal, label) if number is None else (journal / f"piece-{number:04d}", f"{label}, piece {number + 1}")
            return self.paid.answers(piece, lambda left: self.step.answer(self.ctx, self.how, self.backend, left, folder, name))

        return self.ceiling.answers(self.backend, asks, self.prompts["prompt_id"].to_pylist(), ask)

    def _until(self, ready: pa.Table) -> Answered:
        assert self.budget is not None and self.budget.until is not None
        until, name = self.budget.until, self.step.name
        tally = Tally({prompt: self.budget.target(prompt) for prompt in ready["prompt_id"].to_pylist()}, until.bar)
        parts = {("scores", f"until/{column}"): TABLES["scores"].columns.empty_table() for column in self.judged}
        with ExitStack() as stack:
            judges = stack.enter_context(closing(Waves(self.ctx, self.prompts, name))) if self.judged else None
            finals = stack.enter_context(closing(Finals(self.ctx.spec, self.prompts, name))) if until.agree else None

            def ask(asks: pa.Table, wave: int) -> pa.Table:
                return self._ask(asks, self.journal / f"wave-{wave:04d}", f"{self.label}, wave {wave + 1}")

            def judge(rows: pa.Table, wave: int) -> list[float | None]:
                assert judges is not None
                return judges(rows, self.journal / f"judged-{wave:04d}")

            found, count = sample(ready, tally, until.wave, ask, judge if judges else None, finals)
            parts |= judges.rows() if judges else {}
        detail = {"until": until.model_dump(mode="json"), "waves": count, **tally.detail(bool(self.judged))}
        if detail.get("prompts_short"):
            text = f"{detail['prompts_short']} of {ready.num_rows} prompts used up their trials before they had enough"
            self.ctx.progress.note(f"{name}: {text} ({detail['deficit_right']} right, {detail['deficit_wrong']} wrong answers missing)")
        return Answered(pa.concat_tables([TABLES["generations"].columns.empty_table(), *found]), parts, detail)
