"""Builds rows of `generations`: ids, columns and types, for every backend alike."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from engine.generate import Job
from engine.ids import canonical, content_id
from engine.tables import TABLES

POLICY = "policy"


def stream_seed(job: Job) -> int | None:
    """The seed of this step's draws in this round, 63 bits of a hash over (seed, round, step); None where nothing is drawn.

    It stands in the column `seed` and in the ids: the same policy may answer a prompt again in a later round, and those
    answers are others.
    """
    if not job.model or job.sampler.temperature == 0:
        return None
    state = blake2b(canonical([job.seed, job.round, job.step]).encode(), digest_size=8)
    return int.from_bytes(state.digest(), "little") >> 1


def generation_ids(
    sources: Sequence[str],
    prompts: Sequence[str],
    actors: Sequence[str],
    settings: dict[str, Any],
    seed: int | None,
    samples: Sequence[int],
) -> list[str]:
    """`engine.ids.digest(source, prompt, actor, settings, seed, sample, 0, None)` for each row, at a tenth of its time.

    A source is the digest of the model that answered. Turn 0 and no parent: backends here answer in one turn.
    """
    middle, after, texts = f",{canonical(settings)},{canonical(seed)},", ",0,null]", dict[str, str]()

    def text(value: str) -> str:
        if value not in texts:
            texts[value] = canonical(value)
        return texts[value]

    return [
        blake2b(f"[{text(source)},{text(prompt)},{text(actor)}{middle}{sample}{after}".encode(), digest_size=8).hexdigest()
        for source, prompt, actor, sample in zip(sources, prompts, actors, samples, strict=True)
    ]


def sampler_settings(job: Job) -> dict[str, Any]:
    """The sampler's settings that change an answer, as they enter ids and fingerprints."""
    fields = {name: getattr(job.sampler, name) for name in ("temperature", "top_p", "top_k", "max_tokens")}
    return {**fields, "stop": list(job.sampler.stop), "chat": job.chat}


def generations(
    job: Job,
    prompts: Sequence[str],
    responses: Sequence[str],
    *,
    seconds: float,
    samples: Sequence[int] | None = None,
    actors: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    **columns: Sequence[Any] | None,
) -> pa.RecordBatch:
    """One row for each response; `prompts` are the prompts' ids and `samples` the trials' numbers, as `asked` gives them.

    Without `samples` each prompt stands `job.samples` times in a row.
    `actors`, `models` and `sources` (what stands for the model in ids) are by default those of the job's model. `columns` are
    further columns of the table (finish_reason, prompt_tokens, response_tokens, logprob, meta). `seconds`: wall time of the batch.
    """
    n, table, seed = len(responses), TABLES["generations"], stream_seed(job)
    digest = job.model.digest if job.model else ""
    samples = samples if samples is not None else list(range(job.samples)) * (n // job.samples)
    models, actors = models or [digest] * n, actors or [POLICY] * n
    sampled = job.model is not None
    given: dict[str, Any] = {
        "generation_id": generation_ids(sources or models, prompts, actors, sampler_settings(job) if sampled else {}, seed, samples),
        "content_id": [content_id(response) for response in responses],
        "prompt_id": prompts,
        "sample": samples,
        "turn": [0] * n,
        "depth": [0] * n,
        "is_terminal": [True] * n,
        "actor": actors,
        "model": models,
        "response": responses,
        "finish_reason": ["stop"] * n,
        "seconds": [seconds / max(1, n)] * n,
    }
    if sampled:
        given |= {"temperature": [job.sampler.temperature] * n, "top_p": [job.sampler.top_p] * n, "seed": [seed] * n}
    given |= {name: values for name, values in columns.items() if values is not None}
    arrays = [pa.array(given[f.name], f.type) if f.name in given else pa.nulls(n, f.type) for f in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.columns)
