"""Answers with a model of transformers in this process: the backend `transformers`.

Prompts are batched by length, go through the model once for all their answers, and every answer draws from its own
stream of random numbers; `engine.generate.decode` has the loop.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from engine import models
from engine.errors import DataError, ModelError
from engine.generate import Backend, Job, backends
from engine.generate.asks import asked, samplers
from engine.generate.rows import generations
from engine.spec import Sampler

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from engine.generate.stops import Stops


@backends.register("transformers")
class Transformers(Backend):
    """Loads the tokenizer when it sorts prompts and the model when it answers the first batch."""

    revision = 1

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        if job.model is None:
            raise ModelError("the backend 'transformers' needs a model, found none", where=job.step)
        self._model = job.model

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return models.load_tokenizer(self._model.path, self.job.trust_remote_code)

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, set[int], Stops | None, int | None]:
        """The model, the tokens that end an answer, the stop strings, and the most tokens that the model takes."""
        from engine.generate.stops import Stops

        model, tokenizer = models.load(self._model.path, self.job.device, self.job.trust_remote_code)
        sampler, config = self.job.sampler, model.config.get_text_config()
        ends = _ends(model.generation_config.eos_token_id, config.eos_token_id, tokenizer.eos_token_id)
        stops = Stops(sampler.stop, tokenizer, max(config.vocab_size, len(tokenizer))) if sampler.stop else None
        return model, ends, stops, getattr(config, "max_position_embeddings", None)

    def _encode(self, messages: list[list[dict[str, Any]]]) -> list[list[int]]:
        texts = [models.render(self._tokenizer, message, self.job.chat) for message in messages]
        return models.encode(self._tokenizer, texts, self.job.chat)

    def prepare(self, prompts: pa.Table) -> pa.Table:
        """Longest prompts first: a batch then needs little padding, and what does not fit in memory fails at once."""
        lengths = [len(ids) for ids in self._encode(prompts["messages"].to_pylist())]
        order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
        return prompts.take(pa.array(order, pa.int64()))

    def generate(self, asks: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Answers a batch. DataError for a prompt without tokens or too long for the model."""
        for sampler, rows in _alike(samplers(self.job, asks)):
            yield self._answered(asks.take(pa.array(rows, pa.int64())), sampler)

    def _answered(self, batch: pa.RecordBatch, sampler: Sampler) -> pa.RecordBatch:
        """The answers to prompts that share a sampler."""
        from engine.generate.decode import Decoder
        from engine.generate.sampler import Sampling

        began, job, asks = time.perf_counter(), self.job, asked(self.job, batch)
        model, ends, stops, longest = self._loaded
        how = Sampling(sampler.temperature, sampler.top_p, sampler.top_k)
        decoder = Decoder(model, how, sampler.max_tokens, ends, stops)
        prompts = batch.column("prompt_id").to_pylist()
        tokens = self._encode(batch.column("messages").to_pylist())
        limits = [_limit(prompt, ids, longest, sampler.max_tokens) for prompt, ids in zip(prompts, tokens, strict=True)]
        answers = decoder.decode(tokens, asks.counts, asks.keys(job), limits)
        texts = self._tokenizer.batch_decode([a.tokens for a in answers], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return generations(
            job,
            asks,
            [stops.cut(text) for text in texts] if stops else texts,
            seconds=time.perf_counter() - began,
            finish_reason=["stop" if answer.stopped else "length" for answer in answers],
            prompt_tokens=[len(ids) for ids, count in zip(tokens, asks.counts, strict=True) for _ in range(count)],
            response_tokens=[answer.drawn for answer in answers],
            logprob=[answer.logprob for answer in answers],
        )


def _alike(samplers: list[Sampler]) -> list[tuple[Sampler, list[int]]]:
    """The rows of each sampler, in order."""
    found: dict[Sampler, list[int]] = {}
    for row, sampler in enumerate(samplers):
        found.setdefault(sampler, []).append(row)
    return list(found.items())


def _limit(prompt: str, ids: list[int], longest: int | None, most: int) -> int:
    """The most tokens that an answer to a prompt may have."""
    if not ids:
        raise DataError("a prompt without a single token", where=f"prompt {prompt}", hint="see its messages with `rondo sql`")
    if longest is not None and len(ids) >= longest:
        raise DataError(
            f"the prompt has {len(ids)} tokens and the model takes {longest}, answer included",
            where=f"prompt {prompt}",
            hint="shorten or drop the prompt, or take a model with a longer context",
        )
    return most if longest is None else min(most, longest - len(ids))


def _ends(*given: int | list[int] | None) -> set[int]:
    """End tokens of the generation config, the model config and the tokenizer together."""
    return {int(token) for value in given if value is not None for token in (value if isinstance(value, list) else [value])}
