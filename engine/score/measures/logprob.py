"""Log-probability of every answer under a model: the sum, the mean a token, and the number of tokens.

The mean is the fit a_i of GRAPE (Zhang et al., "The Best Instruction-Tuning Data are Those That Fit", arXiv 2502.04194), there
under the base model with the template of fine-tuning and prompt tokens masked. Whether the end token counts is left open
there: `end_token`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from engine.score import forced
from engine.score.measures import Measure, measures
from engine.spec import Spec
from engine.step import Context, Ref


class LogprobParams(forced.Reading):
    """Which model, and how it reads."""

    model: str = Field("policy", description="policy, base, or a folder with a model, relative to the spec")


@measures.register("logprob")
class Logprob(Measure):
    """Columns <name> (nats, 2 decimals), <name>_mean (nats a token, 4 decimals) and <name>_tokens."""

    outputs = ("", "_mean", "_tokens")
    on_device = True
    Params = LogprobParams

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        return forced.Named(self.params.model).reads()

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        return forced.settings(spec) | forced.Named(self.params.model).settings(spec_path)

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        from engine.score.reader import Likelihood

        reader = forced.load(ctx, forced.Named(self.params.model).model(ctx), self.params)
        label = f"logprob ({self.params.model})"
        found = forced.read(ctx, rows, reader, lambda: Likelihood(reader), Likelihood.columns, label=label, journal=ctx.journal)
        names = zip(self.outputs, Likelihood.columns, strict=True)
        return {suffix: found.select(["item_id", name, "detail"]).rename_columns(["item_id", "value", "detail"]) for suffix, name in names}
