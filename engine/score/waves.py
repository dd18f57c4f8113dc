"""The combined score of answers in memory, wave by wave: the number that the steps `scores_*` and `score` will write for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine.errors import StepError
from engine.score import Verifier, make, version
from engine.score.combine import beside, combined
from engine.score.expression import ITEM, Expression
from engine.score.rows import of_verdicts
from engine.score.verify import RESULT, answers_of, frame, scored_once
from engine.spec import Scorer, Spec
from engine.step import Context

if TYPE_CHECKING:
    import polars as pl


def settings(spec: Spec, part: str = "rollout") -> dict[str, Any]:
    """JSON for the fingerprint of a step whose rows depend on scores, of the answers of a part of generations."""
    return Expression.of(spec, part).settings() | {"scorers": {scorer.column: version(scorer, make(scorer)) for scorer in spec.score}}


def judged(spec: Spec) -> bool:
    """Whether answers are judged while they are made: `generate.until` waits for right or wrong ones, or a plan may say so."""
    until = spec.generate.until
    if until is None or not spec.score:
        return False
    return until.agree is None or until.right is not None or until.wrong is not None or spec.generate.plan is not None


class Waves:
    """Scores batch after batch of answers to the same prompts; what a verifier has seen it is not asked again.

    `prompts`: rows with prompt_id, messages, reference and meta; `part`: the part of generations whose combined score counts.
    Close it when done: verifiers may hold processes or models.
    """

    def __init__(self, ctx: Context, prompts: pa.Table, label: str, part: str = "rollout") -> None:
        self._ctx, self._expression, self._label, self._prompts = ctx, Expression.of(ctx.spec, part), label, prompts
        self._verifiers: dict[str, tuple[Scorer, Verifier]] = {scorer.column: (scorer, make(scorer)) for scorer in ctx.spec.score}
        self._seen: dict[str, pl.DataFrame] = {}
        self._rows: dict[str, list[pa.Table]] = {name: [] for name in self._verifiers}

    def __call__(self, rows: pa.Table, journal: Path) -> list[float | None]:
        """The score of each row (rows of generations), in order. StepError where one is lost.

        `journal` is a folder of this batch alone; a repeated run takes the verdicts in it.
        """
        import polars as pl

        table = frame(rows, [ITEM, "prompt_id"])
        for name, (scorer, verifier) in self._verifiers.items():
            answers = answers_of(rows, [self._prompts], verifier, self._label)
            known = self._values(name, scorer, verifier, answers, journal / name)
            self._rows[name].append(of_verdicts(answers, known, name, version(scorer, verifier), self._label))
            own = answers.select(pl.col("item_id").alias(ITEM), "key").join(known, on="key", how="inner")
            own = own.select(
                ITEM, pl.col("value").alias(name), pl.col("verdict").alias(f"verdict {name}"), pl.col("detail").alias(f"detail {name}")
            )
            table = table.join(own, on=ITEM, how="inner", maintain_order="left", validate="1:1")
        known = beside(self._expression, table, rows, [self._prompts], self._label)
        values = frame(combined(self._expression, known.select(sorted({ITEM, *self._expression.names})).to_arrow()), [ITEM, "value"])
        found = table.select(ITEM).join(values, on=ITEM, how="inner", maintain_order="left", validate="1:1")
        if found.height != rows.num_rows:
            raise StepError(f"{self._label}: {rows.num_rows} answers in, {found.height} scores out")
        return found["value"].to_list()

    def rows(self) -> dict[tuple[str, str], pa.Table]:
        """All verdicts so far as parts until/<scorer> of `scores`, where the score steps find them in the cache."""
        return {("scores", f"until/{name}"): pa.concat_tables(found) for name, found in self._rows.items() if found}

    def _values(self, name: str, scorer: Scorer, verifier: Verifier, answers: pl.DataFrame, journal: Path) -> pl.DataFrame:
        """RESULT for everything that this verifier has seen so far."""
        import polars as pl

        seen = self._seen.get(name, frame(RESULT.empty_table(), RESULT.names))
        new = answers.unique("key", maintain_order=True).join(seen, on="key", how="anti", maintain_order="left")
        if new.height:
            made, _ = scored_once(self._ctx, verifier, version(scorer, verifier), new, journal, f"{self._label}: {name}")
            seen = pl.concat([seen, made])
        self._seen[name] = seen
        return seen

    def close(self) -> None:
        """Frees what the verifiers hold."""
        for _, verifier in self._verifiers.values():
            verifier.close()
