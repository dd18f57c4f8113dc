"""Builds rows of `generations`: ids, columns and types, for every backend alike."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from engine.generate import Job
from engine.generate.asks import Asked
from engine.ids import canonical, content_id
from engine.spec import Sampler
from engine.tables import TABLES


def stream_seed(job: Job) -> int | None:
    """The seed of this step's draws in this round, 63 bits of a hash over (seed, round, step); None for a job without a model.

    It stands in the column `seed` and in the ids: the same policy may answer a prompt again in a later round, and those
    answers are others.
    """
    if not job.model:
        return None
    state = blake2b(canonical([job.seed, job.round, job.step]).encode(), digest_size=8)
    return int.from_bytes(state.digest(), "little") >> 1


def generation_ids(
    sources: Sequence[str],
    prompts: Sequence[str],
    actors: Sequence[str],
    settings: Sequence[dict[str, Any]],
    seeds: Sequence[int | None],
    samples: Sequence[int],
) -> list[str]:
    """`engine.ids.digest(source, prompt, actor, settings, seed, sample, 0, None)` for each row, at a tenth of its time.

    A source is the digest of the model that answered. Turn 0 and no parent: backends here answer in one turn.
    """
    texts, known = dict[str, str](), dict[int, str]()

    def text(value: str) -> str:
        if value not in texts:
            texts[value] = canonical(value)
        return texts[value]

    def how(value: dict[str, Any]) -> str:
        if id(value) not in known:
            known[id(value)] = canonical(value)
        return known[id(value)]

    return [
        blake2b(
            f"[{text(source)},{text(prompt)},{text(actor)},{how(setting)},{'null' if seed is None else seed},{sample},0,null]".encode(),
            digest_size=8,
        ).hexdigest()
        for source, prompt, actor, setting, seed, sample in zip(sources, prompts, actors, settings, seeds, samples, strict=True)
    ]


def sampler_settings(job: Job, sampler: Sampler) -> dict[str, Any]:
    """The sampler's settings that change an answer, as they enter ids and fingerprints."""
    fields = {name: getattr(sampler, name) for name in ("temperature", "top_p", "top_k", "max_tokens")}
    return {**fields, "stop": list(sampler.stop), "chat": job.chat}


def generations(
    job: Job,
    asks: Asked,
    responses: Sequence[str],
    *,
    seconds: float | Sequence[float],
    actors: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    seeds: Sequence[int | None] | None = None,
    how: dict[str, Any] | None = None,
    **columns: Sequence[Any] | None,
) -> pa.RecordBatch:
    """One row for each response, in the order of `asks`.

    `actors`, `models` and `sources` (what stands for the model in ids) are by default those of the job; a job without a model
    needs `models` where its answers are sampled. `seeds`: what each answer's draws started from, where it is not the step's. `how`:
    further settings that change an answer and enter its id. `seconds`: wall time of each answer, or of all of them together.
    `columns` are further columns of the table (finish_reason, prompt_tokens, response_tokens, logprob, tokens, meta).
    """
    n, table = len(responses), TABLES["generations"]
    models, actors = models or [job.model.digest if job.model else ""] * n, actors or [job.actor] * n
    sampled, stream, how = job.model is not None or seeds is not None, stream_seed(job), {**job.how, **(how or {})}
    seeds = seeds or [None if sampler.temperature == 0 else stream for sampler in asks.samplers]
    known = {id(sampler): sampler_settings(job, sampler) | (how or {}) for sampler in asks.samplers} if sampled else {}
    settings: list[dict[str, Any]] = [known[id(sampler)] for sampler in asks.samplers] if sampled else [how or {}] * n
    given: dict[str, Any] = {
        "generation_id": generation_ids(sources or models, asks.prompts, actors, settings, seeds, asks.samples),
        "content_id": [content_id(response) for response in responses],
        "prompt_id": asks.prompts,
        "sample": asks.samples,
        "turn": [0] * n,
        "depth": [0] * n,
        "is_terminal": [True] * n,
        "actor": actors,
        "model": models,
        "response": responses,
        "finish_reason": ["stop"] * n,
        "seconds": [seconds / max(1, n)] * n if isinstance(seconds, float) else seconds,
    }
    if sampled:
        given |= {"temperature": [s.temperature for s in asks.samplers], "top_p": [s.top_p for s in asks.samplers], "seed": seeds}
    given |= {name: values for name, values in columns.items() if values is not None}
    arrays = [pa.array(given[f.name], f.type) if f.name in given else pa.nulls(n, f.type) for f in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.columns)
