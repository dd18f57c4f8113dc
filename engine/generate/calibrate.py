"""The step `calibrate_generations`: answers at several temperatures before the round is planned.

They lie in the part `calibrate`, which bare names never show: a plan reads `calibrate.scored`, no selection trains on them.
"""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import SpecError
from engine.generate import backends
from engine.generate.answering import COLUMNS, Answering, Setup, in_order
from engine.randomness import row_keys
from engine.spec import Calibrate, Spec
from engine.step import BASE, Context, Output, Ref

PROMPTS = Ref("prompts", "train")


class CalibrateGenerations(Answering):
    """The round's policy answers the first of the round's prompts at each temperature.

    Samples are numbered through: temperature number t has the samples t * n to (t + 1) * n - 1, so no two answers of a prompt
    share a number or a stream of draws.
    """

    name, part = "calibrate_generations", "calibrate"

    def setup(self, spec: Spec) -> Setup:
        """As `generate` says, but for the temperatures and the number of samples."""
        own = spec.generate
        return Setup(own.backend, own.params, "generate.params", own, _entry(spec).samples, own.batch)

    def model_of(self, spec: Spec) -> Literal["policy", "checkpoint", "base"]:
        return "policy"

    def draws(self, spec: Spec) -> bool:
        return any(temperature > 0 for temperature in _entry(spec).temperatures)

    def reads(self, spec: Spec, round_: int) -> list[Ref]:
        """The policy and the round's prompts."""
        return [*self.model_refs(spec), PROMPTS]

    def settings(self, spec: Spec, round_: int, spec_path: Any) -> dict[str, Any]:
        """The seed enters by itself: it also says which prompts are asked."""
        chosen = _entry(spec).model_dump(mode="json")
        return super().settings(spec, round_, spec_path) | {"temperature": None, "calibrate": chosen, "seed": spec.seed}

    def run(self, ctx: Context) -> Output:
        """Rows in the order of the prompts, then of temperatures and samples."""
        entry = _entry(ctx.spec)
        prompts = _first(ctx.read(PROMPTS, COLUMNS).select(COLUMNS), entry.prompts, ctx.spec.seed)
        found = []
        for number, temperature in enumerate(entry.temperatures):
            backend = self.backend(ctx, ctx.spec.generate.model_copy(update={"temperature": temperature}))
            ready = backend.prepare(prompts)
            ready = ready.append_column("first", pa.array([number * entry.samples] * ready.num_rows, pa.int64()))
            label = f"{self.name} at {temperature:g}"
            found.append(self.answer(ctx, backend, ready, ctx.journal / f"temperature-{number:03d}", label))
        rows = in_order(pa.concat_tables(found), prompts)
        detail = {"prompts": prompts.num_rows, "samples": entry.samples, "temperatures": list(entry.temperatures)}
        return Output({("generations", self.part): rows}, prompts.num_rows, detail)


def _entry(spec: Spec) -> Calibrate:
    assert spec.calibrate is not None  # the step is only listed where there is one
    return spec.calibrate


def _first(prompts: pa.Table, most: int | None, seed: int) -> pa.Table:
    """The first `most` prompts (all where it is None or larger) in a hash order that is the same in every round."""
    ids = prompts["prompt_id"].to_pylist()
    keys = row_keys(seed, BASE, "calibrate", ids)
    chosen = sorted(range(len(ids)), key=lambda i: (int(keys[i]), ids[i]))[:most]
    mask = pc.is_in(prompts["prompt_id"], value_set=pa.array([ids[i] for i in chosen], pa.string()))
    return prompts.filter(mask)


def check(spec: Spec) -> None:
    """SpecError where answers at several temperatures cannot be had, or say nothing."""
    if not backends.load(spec.generate.backend).needs_model:
        raise SpecError(
            f"calibrate: the backend {spec.generate.backend!r} takes answers from elsewhere and has no temperature",
            hint="use a backend with a model, or leave `calibrate` out",
        )
