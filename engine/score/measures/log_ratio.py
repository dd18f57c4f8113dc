"""Log-probability ratio of every answer under two models: what DPO learns as a reward, up to beta.

CREAM (arXiv 2410.12735) ranks a prompt's answers by r = logp(y | policy) - logp(y | base), sums over the answer's tokens, and again
by the same ratio of the previous round's policy (`num: previous`). While that is the base itself every ratio is 0: the repository
then takes the mean log-probability a token under the base, which is `first: mean_base`. `same: mean_base` does so for any other
two names that mean one model, such as the policy while it is the base. RAFT's regularised reward
(arXiv 2304.06767) is a reward less beta times this ratio.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from engine.context import find_model
from engine.promotion import EFFECTIVE
from engine.score import forced
from engine.score.measures import Measure, measures
from engine.spec import Spec
from engine.step import BASE, POLICY, Context, Model, Ref

PREVIOUS, FIRST = "previous", BASE + 1


class RatioParams(forced.Reading):
    """Which models, and how they read."""

    num: str = Field("policy", description="policy, previous (the policy of the round before), base, or a folder relative to the spec")
    den: str = Field("base", description="as `num`")
    reduce: Literal["sum", "mean"] = Field("sum", description="difference of the sums over the tokens, or of the means a token")
    first: Literal["mean_base", "null"] = Field(
        "mean_base",
        description="while `previous` is none or the other model: the mean log-probability a token under the base, or no number",
    )
    same: Literal["zero", "mean_base"] = Field(
        "zero", description="while `num` and `den` are one model under two names: 0, or the mean log-probability a token under it"
    )

    @model_validator(mode="after")
    def _two(self) -> RatioParams:
        if self.num == self.den:
            raise ValueError(f"num and den: two models are compared, found {self.num!r} twice")
        return self


@measures.register("log_ratio")
class LogRatio(Measure):
    """Column <name>: nats, 2 decimals (4 where means are compared); null, with a detail, where a row is too long."""

    on_device = True
    per_answer = True
    Params = RatioParams

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        found = [ref for name in self._given() if name != PREVIOUS for ref in forced.Named(name).reads(spec, round_)]
        if PREVIOUS in self._given():
            found += forced.Named("base").reads(spec, round_)
            if round_ > FIRST:
                found += [Ref("policy"), Ref("promotions", POLICY, "history"), Ref("checkpoints", POLICY, "history")]
        return list(dict.fromkeys(found))

    def settings(self, spec: Spec, round_: int, spec_path: Path) -> dict[str, Any]:
        folders = [forced.Named(name).settings(spec, spec_path) for name in self._given() if name != PREVIOUS]
        return forced.settings(spec) | {"folders": folders}

    def versions(self, ctx: Context) -> list[str]:
        read = self._read(ctx)
        return [*([] if len(read) == 2 else [self._alone()]), *(model.digest for model in read.values())]

    def measure(self, ctx: Context, rows: pa.Table) -> dict[str, pa.Table]:
        read, ids = self._read(ctx), rows["generation_id"]
        if not read:
            detail = pa.array(["there is no previous policy yet"] * len(ids), pa.string())
            return {"": pa.table({"item_id": ids, "value": pa.nulls(len(ids), pa.float64()), "detail": detail})}
        found = [forced.likelihood(ctx, rows, model, self.params, f"log-ratio ({name})") for name, model in read.items()]
        if len(found) == 1:
            return {"": found[0].select(["item_id", "mean", "detail"]).rename_columns(["item_id", "value", "detail"])}
        column, decimals = ("total", 2) if self.params.reduce == "sum" else ("mean", 4)
        both = zip(*(table[column].to_pylist() for table in found), strict=True)
        values = [None if a is None or b is None else round(a - b, decimals) + 0.0 for a, b in both]
        detail = pa.array(
            [_why(read, reasons) for reasons in zip(*(table["detail"].to_pylist() for table in found), strict=True)], pa.string()
        )
        return {"": pa.table({"item_id": ids, "value": pa.array(values, pa.float64()), "detail": detail})}

    def _given(self) -> tuple[str, str]:
        return self.params.num, self.params.den

    def _alone(self) -> str:
        """What stands in for the ratio where there are not two models."""
        return self.params.first if PREVIOUS in self._given() else self.params.same

    def _read(self, ctx: Context) -> dict[str, Model]:
        """The models that read in this round: two, but while `previous` has nothing to be compared with the base alone, or none."""
        given = self._given()
        if PREVIOUS not in given:
            read = {name: forced.Named(name).model(ctx) for name in given}
            one = self.params.same == "mean_base" and len({model.digest for model in read.values()}) == 1
            return {self.params.den: read[self.params.den]} if one else read
        base = forced.Named("base").model(ctx)
        if ctx.round > FIRST:
            read = {name: previous(ctx) if name == PREVIOUS else forced.Named(name).model(ctx) for name in given}
            if len({model.digest for model in read.values()}) == 2:
                return read
        return {"base": base} if self.params.first == "mean_base" else {}


def previous(ctx: Context) -> Model:
    """The policy of the round before: the latest promotion that was effective then. There is one from round 1 on."""
    past = [d for d in ctx.decisions() if d.role == POLICY and d.decision in EFFECTIVE and d.effective_round < ctx.round]
    return find_model(ctx.lake, ctx.home, ctx.spec.experiment, past[-1].digest)


def _why(names: Iterable[str], reasons: tuple[str | None, ...]) -> str | None:
    return "; ".join(f"{name}: {reason}" for name, reason in zip(names, reasons, strict=True) if reason) or None
