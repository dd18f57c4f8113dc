"""The step `calibrate_generations`: answers at several temperatures before the round is planned.

They lie in the part `calibrate`, which bare names never show: a plan reads `calibrate.scored`, no selection trains on them.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import SpecError
from engine.generate import POLICY, backends
from engine.generate.answering import Answering, in_order
from engine.generate.asks import with_samples
from engine.generate.cast import Setup, cast
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

    def setups(self, spec: Spec) -> list[Setup]:
        """As the policy answers in `generate`, but for the temperatures and the number of samples."""
        return [how._replace(samples=_entry(spec).samples, share=1.0) for how in cast(spec) if how.actor == POLICY]

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
        entry, (how,) = _entry(ctx.spec), self.setups(ctx.spec)
        columns = self.columns(ctx.spec)
        prompts = _first(ctx.read(PROMPTS, columns).select(columns), entry.prompts, ctx.spec.seed)
        with self.backend(ctx, how) as backend:
            ready = backend.prepare(prompts)
            asks = []
            for number, temperature in enumerate(entry.temperatures):
                wanted = range(number * entry.samples, (number + 1) * entry.samples)
                one = with_samples(ready, [wanted] * ready.num_rows)
                asks.append(one.append_column("temperature", pa.array([temperature] * one.num_rows, pa.float64())))
            rows = in_order(self.answer(ctx, how, backend, pa.concat_tables(asks)), prompts)
        counts = {"prompts": prompts.num_rows, "samples": entry.samples, "temperatures": list(entry.temperatures)}
        return Output({("generations", self.part): rows}, prompts.num_rows, backend.detail | counts)


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
    """SpecError where nobody is called policy, or its answers cannot be had at several temperatures."""
    policy = next((how for how in cast(spec) if how.actor == POLICY), None)
    if policy is None:
        text = f"calibrate: it asks the actor {POLICY!r}, and there are only {[how.actor for how in cast(spec)]}"
        raise SpecError(text, hint=f"call one {POLICY!r}, or leave `calibrate` out")
    if not backends.load(policy.backend).uses_sampler:
        raise SpecError(
            f"calibrate: the backend {policy.backend!r} takes answers from elsewhere and has no temperature",
            hint="use a backend with a model, or leave `calibrate` out",
        )
