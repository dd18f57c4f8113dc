"""Log-probability of every answer under a model: the sum, the mean a token, and the number of tokens.

The mean is the fit a_i of GRAPE (Zhang et al., "The Best Instruction-Tuning Data are Those That Fit", arXiv 2502.04194), there
under the base model with the template of fine-tuning and prompt tokens masked. Whether the end token counts is left open
there: `end_token`.
"""

from __future__ import annotations

import pyarrow as pa

from engine.score import forced
from engine.score.measures import measures
from engine.step import Context


@measures.register("logprob")
class Logprob(forced.ByModel):
    """Columns <name> (nats, 2 decimals), <name>_mean (nats a token, 4 decimals) and <name>_tokens."""

    outputs = ("", "_mean", "_tokens")
    per_answer = True

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        from engine.score.reader import Likelihood

        reader = forced.load(ctx, forced.Named(self.params.model).model(ctx), self.params)
        label = f"logprob ({self.params.model})"
        found = forced.read(ctx, rows, reader, lambda: Likelihood(reader), Likelihood.columns, label=label, journal=ctx.journal)
        return self.by_suffix(found, Likelihood.columns)
